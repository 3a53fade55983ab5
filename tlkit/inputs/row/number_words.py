"""Words beside and in place of numbers: currencies, units, and what people write where they have no number."""

from __future__ import annotations

_CURRENCY_NAMES = """
AED ARS AUD BDT BGN BHD BRL BTC CAD CHF CHF. CLP CNY COP CRC CZK DEM DKK DM DZD EGP ETB EUR FRF GBP GEL GHS HKD HRK HUF
IDR ILS INR IQD IRR ISK ITL JMD JOD JPY KES KRW KWD KZT LBP LKR LTL LVL MAD MXN MYR NGN NOK NZD OMR PEN PHP PKR PLN PYG
QAR RMB RON RSD RUB SAR SEK SGD THB TND TRY TWD TZS UAH UGX USD UYU UZS VES VND XAF XOF ZAR ZMW
Rs Rs. kr kr. Kr Kr. zł Kč Ft lei Lei Fr Fr. SFr SFr. Euro euro Euros euros dollars pounds p. руб руб. грн лв 円 元
"""
_UNIT_NAMES = """
g mg µg kg t lb lbs oz m mm cm dm km mi ft in inch inches yd l ml cl dl hl s ms min h hr hrs d day days wk yr yrs year
years mo mos month months kW MW GW kWh MWh Wh Hz kHz MHz GHz kB KB MB GB TB Mbps Gbps px pt pts dB bar mbar hPa kPa Pa
psi rpm mph kph kmh km/h m/s mpg cc hp PS bhp kcal cal kJ sqft sqm m2 m3 m² m³ km² km2 ft² ft2 cm² ha ac ppm bps
mmHg bpm ° °C °F ″ percent pct % ‰ Std Tage Jahre Stück stk pcs pc x
"""
_MARKS = """
- -- --- – — . .. ... * \\n n.a. n.a na n/a. none nil null (null) [null] nan missing (missing) unknown (unknown) nodata
blank (blank) empty (empty) tbd undefined #value! #div/0! #ref! #name? #num! #null! k.a. n.d.
"""

CURRENCIES = frozenset(_CURRENCY_NAMES.split())  # before or after a number
# Right behind a number, without a space. Single capitals are left out: they are more often part of a code, such as 12A.
UNITS = frozenset(_UNIT_NAMES.split()) | {"sq ft", "sq m", "sq. ft.", "fl oz"}
# Besides the usual marks, these stand for no value where all other fields are numbers; in lower case.
LIKELY_MISSING = frozenset(_MARKS.split()) | {
    "not available", "not applicable", "not known", "not reported", "no data", "no value", "keine angabe", "k. a."
}  # fmt: skip
