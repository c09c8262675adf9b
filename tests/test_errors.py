from nlf_jax.errors import UserError, printable


def test_errors_can_be_shown_whatever_they_quote():
    error = UserError("no \udcff\x1b[2J in é\u202e\n  second line")
    assert str(error) == "no \\udcff\\x1b[2J in é\\u202e\n  second line"
    assert str(error).encode().decode() == str(error)


def test_printable_keeps_what_can_be_shown():
    assert printable("naïve 'quotes' \\n 漢字 😀") == "naïve 'quotes' \\n 漢字 😀"
    assert printable("\n\t\0") == r"\n\t\x00"
