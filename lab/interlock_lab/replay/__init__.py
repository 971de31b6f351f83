"""`interlock replay`: what a recorded log would say under another policy, another bundle or another server."""
