import { exactly } from '../lib/bytes.ts'
import { AnswerText, type Written } from './answer-text.ts'
import { ceilingOf, isSaid, readCallBody, textOf } from './call-body.ts'
import { hasEncrypted, withoutEncrypted } from './encrypted.ts'
import { sizeOf } from './input-size.ts'
import { type Fields, isFields } from './json.ts'
import {
  deltaOf,
  errorEvent,
  failedEvent,
  kindOf,
  readAnswer,
  readAnswerBody,
  renameModel,
  renameModelInBody,
  sequenceOf,
  wholeEvents,
} from './openai-events.ts'
import { textsOfBody } from './openai-usage.ts'
import {
  type AnswerAsked,
  type AnswerError,
  type AnswerStream,
  type CallFacts,
  type CallReading,
  type EventRead,
  nothingTold,
  type Protocol,
} from './protocol.ts'
import { namesToFind } from './scan.ts'
import { cut, fieldCuts } from './splice.ts'
import { dataOf, isDone } from './sse.ts'

/** `POST /v1/responses`, as JSON and as a stream of events. */
export const responses: Protocol = {
  name: 'responses',
  path: '/responses',
  readCall: body => readFacts(body),
  rewrite: (body, facts, { model, instructions, outputCeiling, safetyIdentifier, cuts = [] }) =>
    cut(body, [
      ...fieldCuts(facts, { model, instructions, max_output_tokens: outputCeiling, safety_identifier: safetyIdentifier }),
      ...cuts,
    ]),
  withoutEncrypted,
  readBody: readAnswerBody,
  renameInBody: renameModelInBody,
  textsOfBody,
  errorIn(raw, type) {
    const kind = kindOf(type)
    return kind === 'error' || kind === 'failed' ? (readAnswer(dataOf(raw)).error ?? saysNothing) : undefined
  },
  openAnswer: asked => new ResponsesAnswer(asked),
  refusalEvents({ status, type, code, message, param }, telling) {
    // A failed response must have a code, and clients act on it: these two are what OpenAI itself would say of a refusal of ours.
    const failedCode = code ?? (status === 429 ? 'rate_limit_exceeded' : status < 500 ? 'invalid_prompt' : 'server_error')
    const failed = failedEvent({ sequence: 1, base: undefined, code: failedCode, message, ...telling })
    return [errorEvent({ sequence: 0, code, message, param, type }), failed]
  },
  wholeEvents,
}

const saysNothing: AnswerError = { code: null, message: '', param: null }

/** Passes everything as it came but the model's name in lifecycle events. Keeps what a proper end would need. */
class ResponsesAnswer implements AnswerStream {
  readonly #renameTo: string | undefined
  readonly #text = new AnswerText()
  /** It stands in the terminal event, and nowhere else. */
  readonly told = nothingTold
  #events = 0
  /** Undefined before any, and where only its sequence number was kept. */
  #lastEvent: Buffer | undefined
  #lastSequence: number | undefined
  #lifecycle: Buffer | undefined

  constructor({ renameTo }: AnswerAsked) {
    this.#renameTo = renameTo
  }

  read(raw: Buffer, type: string): EventRead {
    // Clients stop reading at this marker. Without an end before it, they would take what they have for the whole answer.
    if (isDone(raw, type)) return { kind: 'passes', bytes: undefined }
    const kind = kindOf(type)
    if (kind === 'delta' || kind === 'error' || kind === 'lifecycle') {
      this.#events += 1
      this.#remember(raw)
    }
    if (kind === 'delta') {
      this.#text.add(deltaOf(raw, type), type)
      return { kind: 'passes', bytes: raw }
    }
    if (kind === 'error') return { kind: 'fails', bytes: raw, error: errorIn(raw) }
    const bytes = this.#renameTo === undefined ? raw : renameModel(raw, this.#renameTo)
    if (kind !== 'lifecycle') {
      const facts = readAnswer(dataOf(raw))
      return { kind: 'ends', bytes, facts: { ...facts, status: facts.status ?? kind } }
    }
    this.#lifecycle = exactly(bytes)
    return { kind: 'passes', bytes }
  }

  written(): Written {
    return this.#text.written()
  }

  /** A small event is read when its number is needed, which is hardly ever. A large one would weigh on a stalled reader's call until then. */
  #remember(raw: Buffer): void {
    const isLarge = raw.length > unreadEventBytesMax
    this.#lastEvent = isLarge ? undefined : raw
    this.#lastSequence = isLarge ? sequenceOf(raw) : undefined
  }

  failure({ code, message }: Parameters<AnswerStream['failure']>[0], telling: Parameters<AnswerStream['failure']>[1]): Buffer[] {
    const last = (this.#lastEvent === undefined ? this.#lastSequence : sequenceOf(this.#lastEvent)) ?? this.#events - 1
    const base = this.#lifecycle && dataOf(this.#lifecycle)
    return [failedEvent({ sequence: last + 1, base, code, message, ...telling })]
  }
}

const unreadEventBytesMax = 2048

function errorIn(raw: Buffer): AnswerError | undefined {
  try {
    return readAnswer(dataOf(raw)).error ?? undefined
  } catch {
    return undefined // It passes as it came, and says nothing to us.
  }
}

/** The top-level fields that Headgate reads. */
export const fieldNames = [
  'model',
  'stream',
  'input',
  'instructions',
  'max_output_tokens',
  'previous_response_id',
  'conversation',
  'prompt_cache_key',
  'prompt_cache_options',
  'safety_identifier',
  'service_tier',
  'background',
  'store',
  'tools',
  'prompt',
] as const

const wantedNames = namesToFind(fieldNames)

/** Reads the body of `POST /v1/responses`, once, for everything that Headgate wants to know of it. */
export function readFacts(body: Buffer, wanted = wantedNames): CallReading {
  const read = readCallBody(body, wanted)
  if ('fault' in read) return read
  const { model, parsed, place } = read
  const { input } = parsed
  const size = sizeOf(parsed, body.length)
  const items = Array.isArray(input) ? input : undefined
  const facts: CallFacts = {
    model,
    stream: parsed.stream === true,
    answers: 1,
    isCompaction: false,
    showsUsage: true,
    fields: place.fields,
    insertAt: place.insertAt,
    isEmptyObject: place.isEmptyObject,
    maxOutputTokens: ceilingOf(parsed.max_output_tokens),
    serviceTier: textOf(parsed.service_tier),
    background: parsed.background === true,
    store: parsed.store !== false,
    hasInstructions: textOf(parsed.instructions) !== undefined,
    hasSafetyIdentifier: isSaid(parsed.safety_identifier),
    hasHostedTools: Array.isArray(parsed.tools) && parsed.tools.some(isHosted),
    hasEncryptedContent: hasEncrypted(input),
    promptCacheKey: textOf(parsed.prompt_cache_key),
    cachesFor12h: isFields(parsed.prompt_cache_options) && parsed.prompt_cache_options.ttl === '12h',
    previousResponseId: textOf(parsed.previous_response_id),
    conversationId: textOf(isFields(parsed.conversation) ? parsed.conversation.id : parsed.conversation),
    itemReferences: items === undefined ? containersIn(parsed.tools) : [...referencesIn(items), ...containersIn(parsed.tools)],
    fileIds: withToolFiles(size.fileIds, parsed.tools),
    toolOutputFault: textOf(parsed.previous_response_id) === undefined && items !== undefined ? toolOutputFaultOf(items) : undefined,
    inputTokensEstimate: size.tokens,
    mediaTokens: size.mediaTokens,
  }
  return { facts }
}

/**
 * Tools that the upstream runs itself, within the call, and bills by the call, by the container or by what they read (PROTOCOL.md 2.5
 * and the union `Tool` of npm openai 7.57.0). Functions, custom tools, `computer`, `local_shell`, `apply_patch`, `tool_search` and a shell
 * with a local environment are run by the client and cost tokens only.
 */
const hostedTools: ReadonlySet<unknown> = new Set([
  'file_search',
  'code_interpreter',
  'image_generation',
  'mcp',
  'programmatic_tool_calling',
])

function isHosted(tool: unknown): boolean {
  if (!isFields(tool)) return false
  const { type, environment } = tool
  if (type === 'shell') return !(isFields(environment) && environment.type === 'local')
  // Also `web_search_preview` and dated names such as `web_search_2025_08_26`.
  return hostedTools.has(type) || (typeof type === 'string' && type.startsWith('web_search'))
}

/**
 * An item with an id and nothing else is a reference too: its `type` is optional and may be null (npm openai, `ItemReference`). So is an
 * image that is named without being sent, which OpenAI's guide to image generation shows as a way to have it edited.
 */
export function referencesIn(input: readonly unknown[]): string[] {
  const ids = new Set<string>()
  for (const item of input) {
    if (!isFields(item)) continue
    const id = isReference(item) ? textOf(item.id)?.trim() : undefined
    if (id !== undefined) ids.add(id)
  }
  return [...ids]
}

function isReference({ type, role, result }: Fields): boolean {
  if (type === 'image_generation_call') return textOf(result) === undefined
  return type === 'item_reference' || ((type === undefined || type === null) && role === undefined)
}

/** Files that a hosted tool is given, besides those in the input. Schemas of functions are not searched: they only speak of files. */
function withToolFiles(fileIds: readonly string[], tools: unknown): readonly string[] {
  if (!Array.isArray(tools)) return fileIds
  const ids = new Set(fileIds)
  for (const tool of tools) {
    if (!isFields(tool)) continue
    const { container, input_image_mask: mask } = tool
    const files: unknown[] = isFields(container) && Array.isArray(container.file_ids) ? [...container.file_ids] : []
    if (isFields(mask)) files.push(mask.file_id)
    for (const file of files) if (typeof file === 'string' && file.trim() !== '') ids.add(file)
  }
  return ids.size === fileIds.length ? fileIds : [...ids]
}

/** Containers that exist already, for a hosted tool to go on in. As with items, one that nobody owns is the upstream's to judge. */
function containersIn(tools: unknown): string[] {
  if (!Array.isArray(tools)) return []
  return tools.filter(isFields).flatMap(({ container, environment }) => {
    const id = textOf(container) ?? (isFields(environment) ? textOf(environment.container_id) : undefined)
    return id === undefined ? [] : [id]
  })
}

/** The rule that tool outputs need a context, for a call without a previous response. */
function toolOutputFaultOf(input: readonly unknown[]): CallFacts['toolOutputFault'] {
  const outputs = input.filter(item => isFields(item) && item.type === 'function_call_output').map(callIdOf)
  if (outputs.length === 0) return undefined
  const isCall = (item: unknown) => isFields(item) && (item.type === 'tool_call' || item.type === 'function_call')
  if (input.some(item => isCall(item) && callIdOf(item) !== undefined)) return undefined
  if (outputs.includes(undefined)) return 'output_without_call_id'
  const referred = new Set(input.map(item => (isFields(item) && item.type === 'item_reference' ? textOf(item.id)?.trim() : undefined)))
  return outputs.every(id => referred.has(id)) ? undefined : 'output_without_reference'
}

function callIdOf(item: unknown): string | undefined {
  return isFields(item) ? textOf(item.call_id) : undefined
}
