from benchmarks import shares
from benchmarks.speed_cases import Case


def test_kernels_are_told_apart():
    kernels = [
        ("while.3", 1, 10.0),
        ("dot.1", 1, 4.0),
        ("ynn_fusion.2", 127, 5.0),
        ("multiply_fusion", 127, 3.0),
        ("wrapped_copy.1", 1, 2.0),
        ("ThunkExecutor::Execute", 1, 99.0),
    ]
    assert shares.shares(kernels) == {
        "products, once": 4.0,
        "products, in loops": 5.0,
        "others, in loops": 3.0,
        "others, once": 2.0,
        "loops themselves": 2.0,
    }


def test_a_profile_names_the_kernels_of_a_program():
    row = shares.measure(Case("nll", "nll", "lstm", "tiny", batch=2, steps=32))
    assert 0 < row["products"] < 1
    assert row["milliseconds"]["products, in loops"] > 0
