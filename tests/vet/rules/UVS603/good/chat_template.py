# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
