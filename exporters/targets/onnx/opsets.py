"""The ONNX operator sets that files can be written in; light, since recipes are read with it."""

# The oldest is what torch's exporter writes, the newest what onnxscript converts that to. For a newer
# one torch asks another converter, which leaves the graph as it was where it fails.
OLDEST_OPSET, NEWEST_OPSET = 18, 25
