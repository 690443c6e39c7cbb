import type { CountTokens } from './asked.ts'
import type { Script } from './script.ts'

/** One item of an answer, before it is put in the wire's words. `text` is a call's arguments, a search's query. */
export interface Part {
  readonly kind: 'reasoning' | 'search' | 'image' | 'message' | 'call' | 'compaction'
  readonly id: string
  readonly text: string
  readonly tokens: number
  /** The text in the pieces in which it is streamed. */
  readonly pieces: readonly string[]
  /** Of a function call. */
  readonly name: string
  /** Of a compaction, and of reasoning that can be sent back: the encrypted content. */
  readonly sealed?: string | undefined
  /** False when `max_output_tokens` cut it. */
  readonly isWhole: boolean
}

export interface Output {
  readonly parts: readonly Part[]
  readonly isWhole: boolean
  /** Of the whole output, reasoning included. */
  readonly tokens: number
  readonly reasoningTokens: number
  readonly webSearches: number
  /** When the script says how many tokens there are, a piece of text has its share of them. */
  readonly countTokens: CountTokens | 'by share'
}

/** How much of an output has been shown: the part that is being shown, and how many characters of its text. */
export interface Shown {
  part: number
  chars: number
}

export interface OutputLimits {
  readonly maxTokens: number
  readonly countTokens: CountTokens
  readonly sealed?: string | undefined
}

const defaultText = 'Water runs downhill, and every farm along the canal receives the measure that it is owed.'
const defaultPieces = 4

/** What the script has the model say, cut where `max_output_tokens` cuts it. `suffix` makes the ids of its items. */
export function planOutput(script: Script, suffix: string, limits: OutputLimits): Output {
  const reasoningTokens = Math.min(script.reasoning ?? 0, limits.maxTokens)
  let room = limits.maxTokens - reasoningTokens
  const parts: Part[] = []
  if (script.reasoning !== undefined) {
    const thought = part('reasoning', `rs_${suffix}`, { text: 'Looking at the sluice.', tokens: reasoningTokens })
    parts.push({ ...thought, sealed: limits.sealed })
  }
  for (let n = 0; n < (script.webSearches ?? 0); n++) parts.push(part('search', `ws_${suffix}_${n}`, { text: `water rights ${n + 1}` }))
  if (script.hugeEventBytes !== undefined) parts.push(part('image', `ig_${suffix}`, { text: '' }))

  let isWhole = reasoningTokens === (script.reasoning ?? 0)
  for (const spoken of spokenParts(script, suffix, limits.countTokens)) {
    const cut = shorten(spoken, room, script.outputTokens === undefined ? limits.countTokens : 'by share')
    isWhole &&= cut.isWhole
    room -= cut.tokens
    if (cut.tokens > 0 || cut.isWhole) parts.push({ ...cut, pieces: splitText(cut.text, script.deltas ?? defaultPieces) })
  }
  const tokens = parts.reduce((sum, each) => sum + each.tokens, 0)
  const countTokens = script.outputTokens === undefined ? limits.countTokens : 'by share'
  return { parts, isWhole, tokens, reasoningTokens, webSearches: script.webSearches ?? 0, countTokens }
}

/** A compaction is about so much shorter than what it stands for. */
const shrinkage = 10

export function compactedTokens(script: Script, inputTokens: number): number {
  return script.outputTokens ?? Math.ceil(inputTokens / shrinkage)
}

/** What comes of a trigger: nothing is said, and one item stands for all that went before. */
export function planCompaction(id: string, tokens: number, sealed: string): Output {
  const compaction = { ...part('compaction', id, { text: '', tokens }), sealed }
  return { parts: [compaction], isWhole: true, tokens, reasoningTokens: 0, webSearches: 0, countTokens: 'by share' }
}

/** Tokens, and the searches and reasoning among them, of what has been shown so far. */
export function tokensShown(output: Output, shown: Shown): Pick<Output, 'tokens' | 'reasoningTokens' | 'webSearches'> {
  const done = output.parts.slice(0, shown.part)
  const begun = output.parts[shown.part]
  const beginning = begun === undefined ? 0 : tokensOf(begun, shown.chars, output.countTokens)
  return {
    tokens: done.reduce((sum, each) => sum + each.tokens, beginning),
    reasoningTokens: done.some(each => each.kind === 'reasoning') ? output.reasoningTokens : begun?.kind === 'reasoning' ? beginning : 0,
    webSearches: done.filter(each => each.kind === 'search').length,
  }
}

/** So many tokens of text: common words of three letters with a space before each, four bytes and one o200k token apiece. */
export function madeUpText(tokens: number): string {
  return Array.from({ length: tokens }, (_, n) => words[n % words.length]).join('')
}

const words = [' the', ' man', ' and', ' his', ' dog', ' ran', ' for', ' the', ' old', ' red', ' car']

function part(kind: Part['kind'], id: string, made: { text: string; tokens?: number; name?: string }): Part {
  return { kind, id, text: made.text, tokens: made.tokens ?? 0, pieces: [made.text], name: made.name ?? '', isWhole: true }
}

/** The parts that the client hears, uncut: the text, the function call, or both. */
function spokenParts(script: Script, suffix: string, countTokens: CountTokens): Part[] {
  const { toolCall, outputTokens } = script
  const told = outputTokens === undefined ? undefined : Math.max(0, outputTokens - (script.reasoning ?? 0))
  const text = script.text ?? (toolCall !== undefined ? undefined : told === undefined ? defaultText : madeUpText(told))
  const callTokens = toolCall === undefined ? 0 : text === undefined && told !== undefined ? told : countTokens(toolCall.arguments)
  const spoken: Part[] = []
  if (text !== undefined) {
    const tokens = told === undefined ? countTokens(text) : Math.max(0, told - callTokens)
    spoken.push(part('message', `msg_${suffix}`, { text, tokens }))
  }
  if (toolCall !== undefined)
    spoken.push(part('call', `fc_${suffix}`, { text: toolCall.arguments, tokens: callTokens, name: toolCall.name }))
  return spoken
}

/** The longest beginning of a part that has room for its tokens. */
function shorten(spoken: Part, room: number, count: Output['countTokens']): Part {
  if (spoken.tokens <= room) return spoken
  const points = Array.from(spoken.text)
  const beginning = (length: number) => points.slice(0, length).join('')
  if (count === 'by share') {
    return { ...spoken, text: beginning(Math.floor((points.length * room) / spoken.tokens)), tokens: room, isWhole: false }
  }
  let [fits, tooLong] = [0, points.length]
  while (tooLong - fits > 1) {
    const middle = (fits + tooLong) >> 1
    if (count(beginning(middle)) <= room) fits = middle
    else tooLong = middle
  }
  const text = beginning(fits)
  return { ...spoken, text, tokens: count(text), isWhole: false }
}

/** In about equal pieces, never through the middle of a character. */
function splitText(text: string, pieces: number): string[] {
  const points = Array.from(text)
  const count = Math.max(1, Math.min(pieces, points.length))
  return Array.from({ length: count }, (_, n) =>
    points.slice(Math.floor((points.length * n) / count), Math.floor((points.length * (n + 1)) / count)).join(''),
  )
}

function tokensOf(begun: Part, chars: number, count: Output['countTokens']): number {
  if (begun.tokens === 0 || chars >= begun.text.length) return chars === 0 ? 0 : begun.tokens
  if (begun.kind === 'reasoning' || count === 'by share') return Math.round((begun.tokens * chars) / begun.text.length)
  return count(begun.text.slice(0, chars))
}
