import { noUsage, type Usage } from '../ledger/price.ts'
import { AnswerText, type TextSpan, type Written } from './answer-text.ts'
import { ceilingOf, isSaid, plainFacts, readCallBody, textOf } from './call-body.ts'
import { sizeOf } from './input-size.ts'
import { type Fields, isFields } from './json.ts'
import { errorOf, parsedAnswer, renameModelInBody, textOr } from './openai-events.ts'
import { areCounts, countOf, fieldsOf } from './openai-usage.ts'
import type { AnswerAsked, AnswerFacts, AnswerStream, AnswerTold, CallFacts, CallReading, EventRead, Protocol } from './protocol.ts'
import { namesToFind, type ObjectScan, scanObject } from './scan.ts'
import { type Cut, cut, fieldCuts, memberCut } from './splice.ts'
import { dataInPlace, isDone } from './sse.ts'

/**
 * `POST /v1/chat/completions`, as JSON and as a stream of chunks that ends with `data: [DONE]`. A stream is always asked for its usage,
 * because otherwise nobody would know it; the client sees only what it asked for itself.
 */
export const chat: Protocol = {
  name: 'chat',
  path: '/chat/completions',
  readCall,
  rewrite: (body, facts, { model, outputCeiling, safetyIdentifier }) =>
    cut(body, [
      ...fieldCuts(facts, { model, ...ceilings(facts, outputCeiling), safety_identifier: safetyIdentifier, ...usageAdded(facts) }),
      ...usageCuts(body, facts),
    ]),
  readBody: body => factsOf(parsedAnswer(body)),
  renameInBody: renameModelInBody,
  textsOfBody: body => choicesIn(parsedAnswer(body)).flatMap(choice => textsOf(choice.message)),
  errorIn(raw) {
    const { error } = read(raw)
    return isFields(error) ? errorOf(error) : undefined
  },
  openAnswer: asked => new ChatAnswer(asked),
  refusalEvents: ({ type, code, message, param }) => [chunk({ error: { message, type, param, code } })],
  wholeEvents,
}

/** The top-level fields that Headgate reads. */
const wantedNames = namesToFind([
  'model',
  'stream',
  'stream_options',
  'messages',
  'max_completion_tokens',
  'max_tokens',
  'n',
  'prompt_cache_key',
  'safety_identifier',
  'service_tier',
])

function readCall(body: Buffer): CallReading {
  const found = readCallBody(body, wantedNames)
  if ('fault' in found) return found
  const { model, parsed, place } = found
  const size = sizeOf(parsed, body.length, 'messages')
  return {
    facts: {
      ...plainFacts,
      ...place,
      model,
      stream: parsed.stream === true,
      maxOutputTokens: ceilingIn(parsed),
      // As text too, because some servers take it so.
      answers: ceilingOf(Number(parsed.n)) ?? 1,
      serviceTier: textOf(parsed.service_tier),
      hasSafetyIdentifier: isSaid(parsed.safety_identifier),
      hasHostedTools: isFields(parsed.web_search_options),
      promptCacheKey: textOf(parsed.prompt_cache_key),
      fileIds: size.fileIds,
      showsUsage: isFields(parsed.stream_options) && parsed.stream_options.include_usage === true,
      inputTokensEstimate: size.tokens,
      mediaTokens: size.mediaTokens,
    },
  }
}

/** The greater of both, because which one counts is the server's choice; one that we cannot read may be no ceiling at all. */
function ceilingIn({ max_completion_tokens: newer, max_tokens: older }: Fields): number | undefined {
  const ceilings = [newer, older].filter(isSaid).map(ceilingOf)
  return ceilings.length === 0 ? undefined : ceilings.reduce((a, b) => (a === undefined || b === undefined ? undefined : Math.max(a, b)))
}

/** Under whichever of its names the client says it; newer models know only the longer one. */
function ceilings({ fields }: CallFacts, ceiling: number | undefined): Record<string, number> {
  if (ceiling === undefined) return {}
  const said = ['max_completion_tokens', 'max_tokens'].filter(name => fields[name] !== undefined)
  return Object.fromEntries((said.length === 0 ? ['max_completion_tokens'] : said).map(name => [name, ceiling]))
}

function usageAdded({ stream, fields }: CallFacts): { readonly stream_options?: object } {
  return stream && fields.stream_options === undefined ? { stream_options: { include_usage: true } } : {}
}

/** Within the client's own `stream_options`, so that what else stands there stays as it was sent. */
function usageCuts(body: Buffer, { stream, fields, showsUsage }: CallFacts): Cut[] {
  const span = fields.stream_options
  if (!stream || span === undefined || showsUsage) return []
  const options = scanObject(body, includeUsage, { from: span.valueStart })
  if (options === undefined) return [{ start: span.valueStart, end: span.valueEnd, text: '{"include_usage":true}' }]
  if (options.members.length > 0)
    return options.members.map(({ valueStart, valueEnd }) => ({ start: valueStart, end: valueEnd, text: 'true' }))
  return [{ start: options.insertAt, end: options.insertAt, text: `"include_usage":true${options.isEmpty ? '' : ','}` }]
}

const includeUsage = namesToFind(['include_usage'])
const chunkNames = namesToFind(['model', 'choices', 'usage', 'service_tier', 'error'])

/** Reads what is wanted of each chunk, and remembers what only the end needs. */
class ChatAnswer implements AnswerStream {
  readonly #renameTo: string | undefined
  readonly #showsUsage: boolean
  #model: string | null = null
  #tier: string | null = null
  #finish: string | null = null
  readonly #text = new AnswerText()
  #usage: Usage | null = null
  #hasFailed = false

  constructor({ facts, renameTo }: AnswerAsked) {
    this.#renameTo = renameTo
    this.#showsUsage = facts.showsUsage
  }

  read(raw: Buffer, type: string): EventRead {
    // Behind an error the marker ends nothing: clients would take what they have for the whole answer.
    if (isDone(raw, type))
      return this.#hasFailed ? { kind: 'passes', bytes: undefined } : { kind: 'ends', bytes: raw, facts: this.#facts() }
    const { bytes, scan, ...fields } = read(raw)
    if (isFields(fields.error)) {
      this.#hasFailed = true
      return { kind: 'fails', bytes: raw, error: errorOf(fields.error) }
    }
    this.#model = textOr(fields.model) ?? this.#model
    this.#tier = textOr(fields.service_tier) ?? this.#tier
    if (isFields(fields.usage)) this.#usage = usageOf(fields.usage) ?? this.#usage
    const choices = choicesIn(fields)
    for (const { finish_reason: finish } of choices) this.#finish = textOr(finish) ?? this.#finish
    // The chunk that only tells the usage has no choices.
    const isOfUsage = choices.length === 0 && isFields(fields.usage)
    if (isOfUsage && !this.#showsUsage) return { kind: 'passes', bytes: undefined }
    for (const { index, delta } of choices) for (const text of textsOf(delta)) this.#text.add(spanOf(text), `choice ${index}`)
    return { kind: 'passes', bytes: this.#shown(raw, bytes, scan) }
  }

  get told(): AnswerTold {
    return { model: this.#model, serviceTier: this.#tier, usage: this.#usage }
  }

  written(): Written {
    return this.#text.written()
  }

  /** No `[DONE]`: clients take an error for what it is, and that marker for an end. One error is enough. */
  failure({ code, message }: { readonly code: string; readonly message: string }): Buffer[] {
    if (this.#hasFailed) return []
    return [chunk({ error: { message, type: code === 'server_error' ? 'server_error' : 'invalid_request_error', param: null, code } })]
  }

  #shown(raw: Buffer, bytes: Buffer, scan: ObjectScan | undefined): Buffer {
    const cuts: Cut[] = []
    for (const member of scan?.members ?? []) {
      const { name, valueStart, valueEnd } = member
      if (name === 'model' && this.#renameTo !== undefined)
        cuts.push({ start: valueStart, end: valueEnd, text: JSON.stringify(this.#renameTo) })
      else if (name === 'usage' && !this.#showsUsage) cuts.push(memberCut(bytes, member))
    }
    return cuts.length === 0 ? raw : Buffer.concat(cut(raw, cuts))
  }

  #facts(): AnswerFacts {
    return { ...nothingSaid, ...this.told, status: statusOf(this.#finish) }
  }
}

/** The wanted members of a chunk, parsed, and where they stand. A chunk that cannot be read passes as it came. */
function read(raw: Buffer): Fields & { readonly bytes: Buffer; readonly scan: ObjectScan | undefined } {
  const { bytes, from } = dataInPlace(raw)
  const scan = scanObject(bytes, chunkNames, { from })
  const fields: Record<string, unknown> = {}
  try {
    for (const { name, valueStart, valueEnd } of scan?.members ?? [])
      fields[name] = JSON.parse(bytes.toString('utf8', valueStart, valueEnd))
  } catch {
    return { bytes, scan: undefined } // Visibly broken: its reader will say so, in its own words.
  }
  return { ...fields, bytes, scan }
}

function factsOf(completion: Fields): AnswerFacts {
  const finish = choicesIn(completion).map(choice => textOr(choice.finish_reason))
  return {
    ...nothingSaid,
    status: statusOf(finish.find(reason => reason === 'length' || reason === 'content_filter') ?? 'stop'),
    model: textOr(completion.model),
    serviceTier: textOr(completion.service_tier),
    usage: isFields(completion.usage) ? usageOf(completion.usage) : null,
    error: isFields(completion.error) ? errorOf(completion.error) : null,
  }
}

const nothingSaid = { responseId: null, itemIds: [], containerIds: [], conversationId: null, error: null } as const

function statusOf(finish: string | null): string {
  return finish === 'length' || finish === 'content_filter' ? 'incomplete' : 'completed'
}

function choicesIn({ choices }: Fields): Fields[] {
  return Array.isArray(choices) ? choices.filter(isFields) : []
}

/** Parts larger than their whole are cut down to it, as for responses. */
function usageOf(usage: Fields): Usage | null {
  if (!areCounts([usage.prompt_tokens, usage.completion_tokens])) return null
  const inputTokens = countOf(usage.prompt_tokens)
  const outputTokens = countOf(usage.completion_tokens)
  const details = fieldsOf(usage.prompt_tokens_details)
  const cachedTokens = Math.min(inputTokens, countOf(details.cached_tokens))
  const cacheWriteTokens = Math.min(inputTokens - cachedTokens, countOf(details.cache_write_tokens))
  const reasoningTokens = Math.min(outputTokens, countOf(fieldsOf(usage.completion_tokens_details).reasoning_tokens))
  return { ...noUsage, inputTokens, cachedTokens, cacheWriteTokens, outputTokens, reasoningTokens }
}

function spanOf(text: string): TextSpan {
  const bytes = Buffer.from(JSON.stringify(text))
  return { bytes, start: 1, end: bytes.length - 1 }
}

/** What a model wrote into a message or a delta: text, a refusal, reasoning where a server tells it, arguments of tools. */
function textsOf(message: unknown): string[] {
  if (!isFields(message)) return []
  const { content, refusal, reasoning_content: reasoning, tool_calls: calls } = message
  const args = Array.isArray(calls) ? calls.filter(isFields).flatMap(call => [call.function, call.custom].filter(isFields)) : []
  return [content, refusal, reasoning, ...args.flatMap(({ arguments: given, input }) => [given, input])].filter(
    text => typeof text === 'string',
  )
}

/** A JSON answer to a client that has begun to hear a stream: its one chunk, and the end. */
function wholeEvents(body: Buffer): Buffer[] {
  const { object: _, usage: _usage, choices: _choices, ...rest } = parsedAnswer(body)
  const choices = choicesIn({ choices: _choices }).map(({ message, ...choice }) => ({ ...choice, delta: deltaOf(fieldsOf(message)) }))
  return [chunk({ ...rest, object: 'chat.completion.chunk', choices }), Buffer.from('data: [DONE]\n\n')]
}

/** Chunks number the calls of tools, so that their pieces can be put together. */
function deltaOf({ tool_calls: calls, ...message }: Fields): Fields {
  return Array.isArray(calls) ? { ...message, tool_calls: calls.map((call, index) => ({ index, ...fieldsOf(call) })) } : message
}

function chunk(data: unknown): Buffer {
  return Buffer.from(`data: ${JSON.stringify(data)}\n\n`)
}
