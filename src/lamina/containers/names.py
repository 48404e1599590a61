"""Names of containers: which are allowed, and the ones made up where none was given."""

from __future__ import annotations

import os
from collections.abc import Callable

from lamina.errors import InvalidInput

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")

_ADJECTIVE_WORDS = (
    "able airy amber ample apt awake balmy blithe bold brave breezy bright brisk calm candid "
    "careful cheery chirpy civil clever cosy crisp curious dapper daring deft dreamy eager "
    "earnest easy fair fearless fleet fond frank fresh frugal gallant genial gentle gleeful "
    "golden graceful handy hardy hearty honest humble ideal jaunty jolly jovial keen kind "
    "lively loyal lucid mellow merry mild mirthful modest neat nimble noble patient placid "
    "plucky polite prompt proud quiet quick ready rosy serene sincere snug sober spry steady "
    "sunny tidy tranquil trusty upbeat vivid warm wise witty zesty"
)

_SURNAME_WORDS = (
    "abel agnesi aryabhata backus bayes bernoulli bolyai bombelli boole brahe brunel cantor "
    "cassini cauchy celsius chern clausius coriolis dalton dedekind delambre diderot dijkstra "
    "dirac dirichlet eckert ekman erdos erlang euler faraday fermi fischer fourier "
    "fresnel galois gauss germain gibbs godel grassmann green halley hamilton hamming herschel "
    "hilbert hodgkin hooke huffman huygens jacobi joule kepler klein knuth kolmogorov "
    "kovalevskaya lagrange laplace legendre leibniz lovelace markov maxwell mobius moser napier "
    "newton noether "
    "ohm oersted pascal peano planck poisson ramanujan riemann rontgen seki shannon sommerville "
    "tesla turing volta weyl wiles yalow zermelo zuse"
)


def check_name(name: str) -> str:
    """The name without its leading slash; InvalidInput, in Docker's words, if it is bad."""
    plain = name.removeprefix("/")
    if len(plain) < 2 or plain[0] not in _FIRST or not _REST.issuperset(plain):
        raise InvalidInput(
            f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    return plain


def generated_name(taken: Callable[[str], bool]) -> str:
    """A name such as `merry_noether` that is not taken; a digit follows when luck is short."""
    import os

    adjectives, surnames = _ADJECTIVE_WORDS.split(), _SURNAME_WORDS.split()

    def randrange(count: int) -> int:  # `random` is not worth its import here
        return int.from_bytes(os.urandom(8), "little") % count

    def choice(words: list[str]) -> str:
        return words[randrange(len(words))]

    for attempt in range(64):
        name = f"{_any_of(adjectives)}_{_any_of(surnames)}"
        if attempt > 5:
            name += str(_below(10 ** (attempt // 6)))
        if not taken(name):
            return name
    raise InvalidInput("no free container name was found", remedy="give one by --name")


def _any_of(words: list[str]) -> str:
    return words[_below(len(words))]


def _below(limit: int) -> int:
    # Not `random`: importing it takes longer than everything else here.
    return int.from_bytes(os.urandom(8)) % limit
