"""Compile tlkit/serving/proto/*.proto into the descriptors that tlkit.serving.protos loads.

    python tools/compile_protos.py [OUTPUT]

Run it after a change of a .proto file; tests/serving/test_protos.py compares the result.
"""

import sys
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = REPOSITORY / "tlkit" / "serving" / "proto"


def main(output: Path = SOURCES / "descriptors.binpb") -> None:
    known_types = Path(grpc_tools.__path__[0]) / "_proto"  # google/protobuf/any.proto and others
    sources = sorted(path.relative_to(REPOSITORY).as_posix() for path in SOURCES.glob("*.proto"))
    options = [f"--proto_path={REPOSITORY}", f"--proto_path={known_types}", f"--descriptor_set_out={output}"]
    if protoc.main(["protoc", *options, *sources]):
        raise SystemExit("protoc failed")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
