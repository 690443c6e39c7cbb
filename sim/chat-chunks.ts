import { type Answer, finalStatus } from './answer.ts'
import { type Asked, isObject } from './asked.ts'
import type { Part, Shown } from './output.ts'

/** One `chat.completion.chunk`. */
export type ChatChunk = Readonly<Record<string, unknown>>

/** A chunk, and what has been shown once it was sent. */
export interface ChatDraft {
  readonly chunk: ChatChunk
  readonly shown: Readonly<Shown>
}

/** All chunks of a stream up to the one that says why it ends. Reasoning is not shown, and over when the first word comes. */
export function draftChunks(made: Answer): ChatDraft[] {
  const { parts } = made.output
  const first = parts.findIndex(isSpoken)
  const drafts: ChatDraft[] = [
    {
      chunk: deltaChunk(made, { role: 'assistant', content: '', refusal: null }),
      shown: { part: first === -1 ? parts.length : first, chars: 0 },
    },
  ]
  for (const [index, part] of parts.entries()) {
    if (part.kind === 'call') drafts.push({ chunk: deltaChunk(made, { tool_calls: [callOf(part)] }), shown: { part: index, chars: 0 } })
    if (isSpoken(part)) drafts.push(...pieces(made, part, index))
  }
  drafts.push({ chunk: finishChunk(made, reasonOf(made)), shown: { part: parts.length, chars: 0 } })
  return drafts
}

/** How many answers are asked for at once. */
export function choicesAsked({ fields: { n } }: Asked): number {
  return typeof n === 'number' && Number.isInteger(n) && n > 0 ? n : 1
}

export function finishChunk(made: Answer, reason: string): ChatChunk {
  return chunkOf(made, [{ index: 0, delta: {}, logprobs: null, finish_reason: reason }])
}

export function chunkOf(made: Answer, choices: readonly object[]): ChatChunk {
  const options = made.asked.fields.stream_options
  const isUsageAsked = isObject(options) && options.include_usage === true
  return {
    id: made.id,
    object: 'chat.completion.chunk',
    created: made.createdAtSeconds,
    model: made.model,
    service_tier: made.tier,
    system_fingerprint: null,
    choices,
    ...(isUsageAsked && { usage: null }),
  }
}

/** The whole completion, as JSON has it. */
export function chatCompletion(made: Answer, wire: Record<string, unknown> | undefined): object {
  const { parts } = made.output
  const calls = parts
    .filter(part => part.kind === 'call')
    .map(part => ({ ...callOf(part), index: undefined, function: { name: part.name, arguments: part.text } }))
  const content = parts.find(part => part.kind === 'message')?.text ?? null
  const message = { role: 'assistant', content, refusal: null, annotations: [], ...(calls.length > 0 && { tool_calls: calls }) }
  return {
    id: made.id,
    object: 'chat.completion',
    created: made.createdAtSeconds,
    model: made.model,
    choices: Array.from({ length: choicesAsked(made.asked) }, (_, index) => ({
      index,
      message,
      logprobs: null,
      finish_reason: reasonOf(made),
    })),
    ...(wire !== undefined && { usage: chatUsage(wire) }),
    service_tier: made.tier,
    system_fingerprint: null,
  }
}

/** The usage of a response in the words of a chat completion. */
export function chatUsage(wire: Readonly<Record<string, unknown>>): object {
  const { input_tokens_details: input, output_tokens_details: output } = wire
  return {
    prompt_tokens: wire.input_tokens,
    completion_tokens: wire.output_tokens,
    total_tokens: wire.total_tokens,
    ...(isObject(input) && { prompt_tokens_details: { ...input, audio_tokens: 0 } }),
    ...(isObject(output) && {
      completion_tokens_details: { ...output, audio_tokens: 0, accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 },
    }),
  }
}

function isSpoken({ kind }: Part): boolean {
  return kind === 'message' || kind === 'call'
}

function reasonOf(made: Answer): string {
  if (finalStatus(made) !== 'completed') return 'length'
  return made.output.parts.some(part => part.kind === 'call') ? 'tool_calls' : 'stop'
}

function callOf({ id, name }: Part) {
  return { index: 0, id: id.replace('fc_', 'call_'), type: 'function', function: { name, arguments: '' } }
}

function deltaChunk(made: Answer, delta: object): ChatChunk {
  return chunkOf(made, [{ index: 0, delta, logprobs: null, finish_reason: null }])
}

function pieces(made: Answer, part: Part, index: number): ChatDraft[] {
  let chars = 0
  return part.pieces.map(piece => {
    chars += piece.length
    const delta = part.kind === 'call' ? { tool_calls: [{ index: 0, function: { arguments: piece } }] } : { content: piece }
    return { chunk: deltaChunk(made, delta), shown: { part: index, chars } }
  })
}
