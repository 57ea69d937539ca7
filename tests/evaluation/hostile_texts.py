"""What a text of the data may try on whoever shows it."""

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><script>alert(1)</script>",
    "\x1b[31mred\x1b[0m",
    "\u202egnirts desrever\u202c",
    "שלום עולם",
    "{{ 7 * 7 }}{% for x in y %}",
    "$x^2$ _hidden",
    "&lt;b&gt; &amp;",
    "x" * 1_000_000,
    "\x00\r\n\t",
    "",
]
