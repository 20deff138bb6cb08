"""The guest's tests run in the guest alone: test_boot.py starts them there."""

collect_ignore = ["guest"]
