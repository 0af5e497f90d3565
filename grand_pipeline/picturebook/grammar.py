"""Build sentences word by word, with parts of speech, dependencies and grounded phrases."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from grand_pipeline.picturebook.lexicon import NUMBERS, Chain, article
from grand_pipeline.picturebook.vocabulary import THINGS


@dataclass(frozen=True)
class Caption:
    """A text with its grounded phrases: (start, end, object ids), `text[start:end]` the phrase."""

    text: str
    spans: tuple[tuple[int, int, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Token:
    """A word with its universal part of speech, the position of its head, and the dependency.

    The head of a root is its own position.
    """

    text: str
    pos: str
    head: int
    dep: str


@dataclass(frozen=True)
class Mention:
    """Objects spoken of together: same class, and same colour where a colour is said."""

    ids: tuple[int, ...]
    name: str
    color: str | None = None
    size: str | None = None


@dataclass
class Draft:
    """A sentence (or several) in the making."""

    tokens: list[Token] = field(default_factory=list)
    phrases: list[tuple[int, int, tuple[int, ...]]] = field(default_factory=list)

    def word(self, text: str, pos: str, dep: str, head: int | None = None) -> int:
        """Append a word; without a head it is a root. Returns its position."""
        here = len(self.tokens)
        self.tokens.append(Token(text, pos, here if head is None else head, dep))
        return here

    def noun(
        self, mention: Mention, dep: str, head: int | None = None, *, definite: bool = False
    ) -> int:
        """Append "a (the) small red car" or "two red cars"; returns the position of the noun."""
        many = len(mention.ids) > 1
        adjectives = [word for word in (mention.size, mention.color) if word]
        name = THINGS[mention.name].plural if many else mention.name
        first = len(self.tokens)
        place = first + 1 + len(adjectives)
        if many:
            self.word(NUMBERS[len(mention.ids)], "NUM", "nummod", place)
        else:
            determiner = "the" if definite else article([*adjectives, name][0])
            self.word(determiner, "DET", "det", place)
        for adjective in adjectives:
            self.word(adjective, "ADJ", "amod", place)
        self.word(name, "NOUN", dep, head)
        self.phrases.append((first, place + 1, mention.ids))
        return place

    def the(self, name: str, dep: str, head: int | None = None, ids: tuple[int, ...] = ()) -> int:
        """Append "the grass"; returns the position of the (last) noun."""
        words = name.split()
        first = len(self.tokens)
        place = first + len(words)
        self.word("the", "DET", "det", place)
        for part in words[:-1]:
            self.word(part, "NOUN", "compound", place)
        self.word(words[-1], "NOUN", dep, head)
        if ids:
            self.phrases.append((first, place + 1, ids))
        return place

    def kind(self, name: str, dep: str, head: int | None = None) -> int:
        """Append "a living room" (a kind of scene); returns the position of the (last) noun."""
        words = name.split()
        place = len(self.tokens) + len(words)
        self.word(article(words[0]), "DET", "det", place)
        for part in words[:-1]:
            self.word(part, "NOUN", "compound", place)
        return self.word(words[-1], "NOUN", dep, head)

    def chain(self, words: Chain, head: int) -> int:
        """Append a relation phrase; returns the position its noun phrase hangs on."""
        for text, pos, dep in words:
            head = self.word(text, pos, dep, head)
        return head

    def listing(self, mentions: list[Mention], dep: str, head: int | None = None) -> int:
        """Append "a dog, two cats and a ball"; returns the position of the first noun."""
        first = last = self.noun(mentions[0], dep, head)
        for n, mention in enumerate(mentions[1:], start=2):
            if n == len(mentions):
                self.word("and", "CCONJ", "cc", last)
            else:
                self.word(",", "PUNCT", "punct", last)
            last = self.noun(mention, "conj", last)
        return first

    def rehang(self, word: int, head: int) -> None:
        """Give an earlier word its head, once that is known."""
        self.tokens[word] = replace(self.tokens[word], head=head)

    def finish(self) -> Caption:
        """The text and its phrases in characters."""
        text, starts = "", []
        for token in self.tokens:
            if text and token.pos != "PUNCT":
                text += " "
            starts.append(len(text))
            text += token.text
        spans = [
            (starts[first], starts[last - 1] + len(self.tokens[last - 1].text), ids)
            for first, last, ids in self.phrases
        ]
        return Caption(text, tuple(spans))
