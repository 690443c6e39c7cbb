import { type Answer, type Ending, type FinalStatus, failureOf, finishedItem, type Item, responseObject, textContent } from './answer.ts'
import type { Part, Shown } from './output.ts'
import type { Script } from './script.ts'

/** An event but for its number, what has been shown once it was sent, and the item that it finishes. */
export interface Draft {
  readonly type: string
  readonly fields: Readonly<Record<string, unknown>>
  readonly shown: Readonly<Shown>
  readonly item?: Item
  /** Still in the queue: nothing has been made, and nothing is owed. */
  readonly isQueued?: true
}

/** All events of a stream but the terminal one, in order. */
export function draftEvents(answer: Answer): Draft[] {
  const drafts = beginning(answer)
  for (const [index, part] of answer.output.parts.entries()) {
    const item = finishedItem(part)
    drafts.push({
      type: 'response.output_item.added',
      fields: { output_index: index, item: beginningOf(item) },
      shown: { part: index, chars: 0 },
    })
    drafts.push(...partEvents(part, index, answer.script))
    drafts.push({ type: 'response.output_item.done', fields: { output_index: index, item }, shown: { part: index + 1, chars: 0 }, item })
  }
  return drafts
}

/** Behind `created`, in the background, the answer waits for its turn. */
function beginning(answer: Answer): Draft[] {
  const shown = { part: 0, chars: 0 }
  const responseAs = (status: 'queued' | 'in_progress') => ({
    response: responseObject(answer, { status, items: [], usage: null, webSearches: 0 }),
  })
  const running = responseAs('in_progress')
  const inProgress: Draft = { type: 'response.in_progress', fields: running, shown }
  if (!answer.asked.background) return [{ type: 'response.created', fields: running, shown }, inProgress]
  const queued = { fields: responseAs('queued'), shown, isQueued: true } as const
  return [{ type: 'response.created', ...queued }, { type: 'response.queued', ...queued }, inProgress]
}

export function terminalEvent(
  answer: Answer,
  ending: Ending & { readonly status: FinalStatus },
): { type: string; response: Record<string, unknown> } {
  return { type: terminalTypes[ending.status], response: responseObject(answer, ending) }
}

/** The event `error` has its fields flat. */
export function errorEvent(script: Script): { type: string; code: string; message: string; param: string | null } {
  return { type: 'error', ...failureOf(script) }
}

/** One event as bytes of the stream. */
export function frame(event: { readonly type: string }, sequence: number, script: Script): string {
  const { type, ...fields } = event
  const line = script.crlf === true ? '\r\n' : '\n'
  const comment = script.comments === true ? `: ping${line}${line}` : ''
  const name = script.omitEventLines === true ? '' : `event: ${type}${line}`
  return `${comment}${name}data: ${JSON.stringify({ type, sequence_number: sequence, ...fields })}${line}${line}`
}

/** A value as one event without a name, as chat completions are streamed. */
export function dataFrame(value: object, script: Script): string {
  const line = script.crlf === true ? '\r\n' : '\n'
  const comment = script.comments === true ? `: ping${line}${line}` : ''
  return `${comment}data: ${JSON.stringify(value)}${line}${line}`
}

export function doneMarker(script: Script): string {
  return script.crlf === true ? 'data: [DONE]\r\n\r\n' : 'data: [DONE]\n\n'
}

const terminalTypes: Record<FinalStatus, string> = {
  completed: 'response.completed',
  incomplete: 'response.incomplete',
  failed: 'response.failed',
  cancelled: 'response.incomplete',
}

/** An item as it is announced: begun, and empty. */
function beginningOf(item: Item): Item {
  if (item.type === 'reasoning') return { ...item, summary: [] }
  if (item.type === 'compaction') return { ...item, encrypted_content: '' }
  const status = 'in_progress'
  if (item.type === 'message') return { ...item, status, content: [] }
  if (item.type === 'function_call') return { ...item, status, arguments: '' }
  if (item.type === 'image_generation_call') return { ...item, status, result: null }
  return { ...item, status }
}

function partEvents(part: Part, index: number, script: Script): Draft[] {
  const at = { item_id: part.id, output_index: index }
  const unseen = { part: index, chars: 0 }
  const plain = (type: string, fields: object = {}): Draft => ({ type, fields: { ...at, ...fields }, shown: unseen })
  switch (part.kind) {
    case 'reasoning':
      return reasoningEvents(part, index)
    case 'compaction':
      return [plain('response.compaction.compacting')]
    case 'search':
      return ['in_progress', 'searching', 'completed'].map(step => plain(`response.web_search_call.${step}`))
    case 'image': {
      const partial = { partial_image_index: 0, partial_image_b64: 'A'.repeat(script.hugeEventBytes ?? 0) }
      return [
        plain('response.image_generation_call.in_progress'),
        plain('response.image_generation_call.generating'),
        plain('response.image_generation_call.partial_image', partial),
        plain('response.image_generation_call.completed'),
      ]
    }
    case 'message':
      return messageEvents(part, index)
    case 'call':
      return [
        ...deltas('response.function_call_arguments.delta', part, index),
        { ...plain('response.function_call_arguments.done', { name: part.name, arguments: part.text }), shown: shownWhole(part, index) },
      ]
  }
}

function reasoningEvents(part: Part, index: number): Draft[] {
  const at = { item_id: part.id, output_index: index, summary_index: 0 }
  const shown = shownWhole(part, index)
  const summary = { type: 'summary_text', text: part.text }
  const empty = { type: 'summary_text', text: '' }
  return [
    { type: 'response.reasoning_summary_part.added', fields: { ...at, part: empty }, shown: { part: index, chars: 0 } },
    ...deltas('response.reasoning_summary_text.delta', part, index, { summary_index: 0 }),
    { type: 'response.reasoning_summary_text.done', fields: { ...at, text: part.text }, shown },
    { type: 'response.reasoning_summary_part.done', fields: { ...at, part: summary }, shown },
  ]
}

function messageEvents(part: Part, index: number): Draft[] {
  const at = { item_id: part.id, output_index: index, content_index: 0 }
  const shown = shownWhole(part, index)
  return [
    { type: 'response.content_part.added', fields: { ...at, part: textContent('') }, shown: { part: index, chars: 0 } },
    ...deltas('response.output_text.delta', part, index, { content_index: 0, logprobs: [] }),
    { type: 'response.output_text.done', fields: { ...at, text: part.text, logprobs: [] }, shown },
    { type: 'response.content_part.done', fields: { ...at, part: textContent(part.text) }, shown },
  ]
}

function deltas(type: string, part: Part, index: number, besides: object = {}): Draft[] {
  let chars = 0
  return part.pieces.map(delta => {
    chars += delta.length
    return { type, fields: { item_id: part.id, output_index: index, ...besides, delta }, shown: { part: index, chars } }
  })
}

function shownWhole(part: Part, index: number): Shown {
  return { part: index, chars: part.text.length }
}
