"""Core ML"""
from onnxzoo.registry.convert.job import Converter, pinned
CONVERTER = Converter(name="coreml", module=__name__, needs=("coremltools","onnxmltools"), extra="coreml", requirements=pinned("coreml"))
