"""A program that knows nothing of tach."""

from backup import Archive


def send(archive, size):
    """Whether it was sent."""
    try:
        archive.send(b"x" * size)
    except ValueError as error:
        print(f"skipped: {error}")
        return False
    return True


archive = Archive()
sent = [send(archive, size) for size in (1000, 500_000, 2_000_000, 0, 3_000_000)]
print(f"sent {sum(sent)} files")
