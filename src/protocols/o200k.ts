import { clearMergeCache, countTokens } from 'gpt-tokenizer/encoding/o200k_base'

/** How far counting may go: it looks at the time after each piece. */
export interface CountLimits {
  /** Milliseconds that only grow. */
  readonly elapsedMs: () => number
  readonly withinMs: number
}

/**
 * How many tokens of `o200k_base`, the vocabulary of OpenAI's models since GPT-4o, these texts have, each counted alone. What
 * cannot be counted in time is taken to be like the rest: pieces from all over the texts are counted first, so that a sample is fair.
 *
 * Loading this module loads the vocabulary, which takes about 0.4 s and 75 MB: it belongs in a worker, or a test.
 */
export function countTexts(texts: readonly string[], { elapsedMs, withinMs }: CountLimits): number {
  const pieces = texts.flatMap(text => piecesOf(text))
  const untilMs = elapsedMs() + withinMs
  let [tokens, chars, allChars] = [0, 0, 0]
  for (const piece of pieces) allChars += piece.length
  for (const piece of spreadOut(pieces)) {
    tokens += countPiece(piece)
    chars += piece.length
    if (elapsedMs() >= untilMs) break
  }
  // It keeps words, each of which is a part of a text and keeps the whole of it.
  clearMergeCache()
  return chars === allChars ? tokens : Math.round((tokens * allChars) / chars)
}

/** Every so many pieces first, then those behind them: wherever one stops, it has seen a bit of everything. */
function* spreadOut(pieces: readonly string[]): Generator<string> {
  for (let from = 0; from < strides; from++) {
    for (let i = from; i < pieces.length; i += strides) yield pieces[i]!
  }
}

const strides = 16

/** The worst text known, random letters of both cases and digits, takes about 6 ms for a thousand of them. */
const pieceChars = 4096
/** How far back a blank is looked for: a text is the same tokens when it is cut before the blank in front of a word. */
const blankWithinChars = 64

function piecesOf(text: string): string[] {
  const pieces: string[] = []
  for (let from = 0; from < text.length; ) {
    const to = from + pieceChars >= text.length ? text.length : cutBefore(text, from + pieceChars)
    pieces.push(text.slice(from, to))
    from = to
  }
  return pieces
}

function cutBefore(text: string, most: number): number {
  const blank = text.lastIndexOf(' ', most)
  return blank > most - blankWithinChars ? blank : wholeCharacter(text, most)
}

/** Never between the two halves of a character. */
function wholeCharacter(text: string, at: number): number {
  const code = text.charCodeAt(at)
  return code >= 0xdc00 && code <= 0xdfff ? at - 1 : at
}

/** A run that the vocabulary's pattern takes as one, such as a million letters, is merged in quadratic time: it is counted in parts. */
const longRuns = /[\p{L}\p{M}]{257,}|[^\s\p{L}\p{N}]{257,}|\s{257,}/gu
const runChars = 256

function countPiece(piece: string): number {
  let tokens = 0
  let from = 0
  for (const { 0: run, index } of piece.matchAll(longRuns)) {
    for (let at = index; at < index + run.length; ) {
      const to = wholeCharacter(piece, Math.min(at + runChars, index + run.length))
      tokens += count(piece.slice(from, to))
      from = at = to
    }
  }
  return tokens + count(piece.slice(from))
}

function count(text: string): number {
  return text === '' ? 0 : countTokens(text, asPlainText)
}

/** Words such as `<|endoftext|>` in what people write are text, and neither special nor forbidden. */
const asPlainText = { disallowedSpecial: new Set<string>() }
