import type { TextSpan } from './answer-text.ts'
import { type Fields, isFields } from './json.ts'
import { usageOf } from './openai-usage.ts'
import { type AnswerError, type AnswerFacts, AnswerUnreadable } from './protocol.ts'
import { endOfString, namesToFind, scanObject } from './scan.ts'
import { type Cut, cut } from './splice.ts'
import { dataInPlace, typeOf } from './sse.ts'

export type EventKind = 'delta' | 'lifecycle' | 'completed' | 'incomplete' | 'failed' | 'error'

/** What an event means to us, by its type. Whatever is not known passes like a delta. */
export function kindOf(type: string): EventKind {
  switch (type) {
    case 'response.created':
    case 'response.queued':
    case 'response.in_progress':
      return 'lifecycle'
    case 'response.completed':
      return 'completed'
    case 'response.incomplete':
      return 'incomplete'
    case 'response.failed':
      return 'failed'
    case 'error':
      return 'error'
    default:
      return 'delta'
  }
}

/** The event's place in its stream, from 0; undefined when it says none. */
export function sequenceOf(raw: Buffer): number | undefined {
  const { bytes, from } = dataInPlace(raw)
  const member = scanObject(bytes, sequenceName, { from, membersMax: 1 })?.members[0]
  if (member === undefined) return undefined
  const text = bytes.toString('latin1', member.valueStart, member.valueEnd)
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

/**
 * The text that a delta event adds to the answer: what a model wrote, reasoning and arguments of tools included. Undefined for
 * every other event. Without `type` it is looked up.
 */
export function deltaOf(raw: Buffer, type: string = typeOf(raw)): TextSpan | undefined {
  if (!type.endsWith('.delta') || type === 'response.audio.delta') return undefined
  const quick = textOfDelta(raw)
  if (quick !== undefined) return quick
  const { bytes, from } = dataInPlace(raw)
  const member = scanObject(bytes, deltaName, { from, membersMax: 1 })?.members[0]
  if (member === undefined || bytes[member.valueStart] !== 0x22) return undefined
  return { bytes, start: member.valueStart + 1, end: member.valueEnd - 1 }
}

/**
 * The same by a search, without going through the members before it. Bytes that look like a name are one, unless a backslash stands
 * before them; and it is a member of the data itself when the only brace before it is the data's own. Undefined when that is not so plain.
 */
function textOfDelta(raw: Buffer): TextSpan | undefined {
  const at = raw.indexOf(deltaText)
  if (at < 0 || raw[at - 1] === backslash) return undefined
  const braceAt = raw.lastIndexOf(brace, at)
  if (!isData(raw, braceAt)) return undefined
  const start = at + deltaText.length
  const end = endOfString(raw, start - 1)
  return end < 0 ? undefined : { bytes: raw, start, end: end - 1 }
}

/** Whether the field's value begins there: "data: {", at the beginning of a line. */
function isData(raw: Buffer, at: number): boolean {
  const nameAt = at - dataField.length
  if (nameAt > 0 && raw[nameAt - 1] !== lineFeed) return false
  for (let i = 0; i < dataField.length; i++) if (raw[nameAt + i] !== dataField[i]) return false
  return true
}

const deltaText = Buffer.from('"delta":"')
const dataField = Buffer.from('data: ')
const backslash = 0x5c
const brace = 0x7b
const lineFeed = 0x0a

/** What a terminal event says of the answer, from the event's data: of its `response`, or of the error when the event is `error`. */
export function readAnswer(data: string | Buffer): AnswerFacts {
  const event = parsedAnswer(data)
  if (isFields(event.response)) return factsOf(event.response)
  if (event.type === 'error' || isFields(event.error))
    return factsOf({ error: isFields(event.error) ? { ...event, ...event.error } : event })
  throw new AnswerUnreadable('the terminal event has no response')
}

/** What a JSON body says of the answer: a response object, or an error in OpenAI's shape. */
export function readAnswerBody(body: string | Buffer): AnswerFacts {
  return factsOf(parsedAnswer(body))
}

/** Whose doing an error is, and what it means for the account. */
export const codeVerdicts = ['server', 'limited', 'quota', 'overloaded', 'auth', 'client'] as const
export type CodeVerdict = (typeof codeVerdicts)[number]

/**
 * What the code of a failed response or of an `error` event means, else its type. A code that is not known is the
 * client's: trying elsewhere what is wrong with the call itself would blame one account after the other. Statuses as codes, which
 * some servers send, mean what the status means.
 */
export function codeVerdict(code: string | null, type: string | null = null): CodeVerdict {
  return verdicts.get(code ?? '') ?? verdicts.get(type ?? '') ?? 'client'
}

/** The event's bytes with another name of the model in its response; if `from` is given, only in place of that name. */
export function renameModel(raw: Buffer, to: string, from: string | null = null): Buffer {
  const { bytes, from: dataAt } = dataInPlace(raw)
  const response = scanObject(bytes, responseName, { from: dataAt })?.members ?? []
  return joined(
    raw,
    response.flatMap(({ valueStart }) => modelCuts(bytes, valueStart, to, from)),
  )
}

/** The JSON answer with another name of the model; if `from` is given, only in place of that name. */
export function renameModelInBody(body: Buffer, to: string, from: string | null = null): Buffer {
  return joined(body, modelCuts(body, 0, to, from))
}

/**
 * A JSON answer as a stream: its beginning, without which clients' accumulators fail, and its end, in which the bytes stay as
 * they are, but for line ends: an event's data is one line.
 */
export function wholeEvents(body: Buffer): Buffer[] {
  const parsedBody = parsedAnswer(body)
  const { status } = factsOf(parsedBody)
  const type = `response.${status === 'incomplete' || status === 'failed' ? status : 'completed'}`
  const response = body.toString().replace(/[\r\n]+/g, ' ')
  const begun = { ...parsedBody, status: 'in_progress', output: [], usage: null }
  return [
    event('response.created', { type: 'response.created', sequence_number: 0, response: begun }),
    Buffer.from(`event: ${type}\ndata: {"type":"${type}","sequence_number":1,"response":${response}}\n\n`),
  ]
}

export interface FailedEvent {
  /** One more than that of the last event, or 0. */
  readonly sequence: number
  /** The data of the last lifecycle event that the client has seen. Its response is what fails; without it, a whole one is made. */
  readonly base: string | undefined
  /** The id of the response, if there is no base to take it from. */
  readonly id: string
  /** The model as the client named it. */
  readonly model: string
  readonly code: string
  readonly message: string
  /** Milliseconds since 1970; counts if there is no base. */
  readonly createdAtMs: number
}

/** A whole, well-formed `response.failed`: the only end of a broken stream that every client understands. */
export function failedEvent({ sequence, base, id, model, code, message, createdAtMs }: FailedEvent): Buffer {
  const begun = base === undefined ? undefined : responseIn(base)
  const response = {
    ...(begun ?? emptyResponse(id, createdAtMs)),
    status: 'failed',
    error: { code, message },
    incomplete_details: null,
    completed_at: null,
    model,
  }
  return event('response.failed', { type: 'response.failed', sequence_number: sequence, response })
}

export interface ErrorEvent {
  readonly sequence: number
  readonly code: string | null
  readonly message: string
  readonly param: string | null
  /** As in the body of the refusal that this would have been. */
  readonly type: string
}

/** An `error` event: flat, as the protocol has it, and with `error`, because openai-python looks only there. */
export function errorEvent({ sequence, code, message, param, type }: ErrorEvent): Buffer {
  return event('error', { type: 'error', sequence_number: sequence, code, message, param, error: { type, message } })
}

const sequenceName = namesToFind(['sequence_number'])
const deltaName = namesToFind(['delta'])
const responseName = namesToFind(['response'])
const modelName = namesToFind(['model'])

export function parsedAnswer(data: string | Buffer): Fields {
  let value: unknown
  try {
    value = JSON.parse(data.toString())
  } catch (cause) {
    throw new AnswerUnreadable('the answer is not JSON', { cause })
  }
  if (!isFields(value)) throw new AnswerUnreadable('the answer is not a JSON object')
  return value
}

function factsOf(response: Fields): AnswerFacts {
  const { conversation } = response
  const { itemIds, containerIds } = idsIn(response.output)
  return {
    status: textOr(response.status),
    responseId: textOr(response.id),
    model: textOr(response.model),
    serviceTier: textOr(response.service_tier),
    usage: usageOf(response),
    itemIds,
    containerIds,
    conversationId: textOr(isFields(conversation) ? conversation.id : conversation),
    error: isFields(response.error) ? errorOf(response.error) : null,
  }
}

/** Of the output's items, and of the containers that they name, each of these once. */
function idsIn(output: unknown): Pick<AnswerFacts, 'itemIds' | 'containerIds'> {
  const itemIds: string[] = []
  let containerIds: Set<string> | undefined
  for (const item of Array.isArray(output) ? output : []) {
    if (!isFields(item)) continue
    const id = textOr(item.id)
    const containerId = containerOf(item)
    if (id !== null) itemIds.push(id)
    if (containerId !== null) containerIds = (containerIds ?? new Set()).add(containerId)
  }
  return { itemIds, containerIds: containerIds === undefined ? [] : [...containerIds] }
}

/** Where a code interpreter ran, or a shell (npm openai, `ResponseCodeInterpreterToolCall` and `ResponseContainerReference`). */
function containerOf({ container_id: id, environment }: Fields): string | null {
  return textOr(id) ?? (isFields(environment) ? textOr(environment.container_id) : null)
}

/** Some servers send numbers as codes, or nothing but a type. */
export function errorOf(error: Fields): AnswerError {
  const { code, type, message, param } = error
  return {
    code: typeof code === 'number' ? String(code) : textOr(code),
    type: type === 'error' ? null : textOr(type),
    message: textOr(message) ?? '',
    param: textOr(param),
  }
}

/** Codes, and types where they are said instead. The client's own stand here so that a type beside them changes nothing. */
const codesByVerdict: Readonly<Record<CodeVerdict, string>> = {
  server: 'server_error internal_error internal_server_error api_error vector_store_timeout timeout 500 502 504',
  limited: 'rate_limit_exceeded rate_limit_error requests tokens slow_down 429',
  quota:
    'insufficient_quota credit_balance_exhausted organization_spend_limit_exceeded project_spend_limit_exceeded ' +
    'organization_usage_limit_exceeded billing_hard_limit_reached billing_not_active 402',
  overloaded: 'server_is_overloaded service_unavailable_error service_unavailable overloaded_error capacity_exceeded 498 503 529',
  auth: 'invalid_api_key authentication_error permission_error account_deactivated 401 403',
  client:
    'invalid_prompt context_length_exceeded cyber_policy bio_policy misalignment_policy_violation data_residency_mismatch ' +
    'previous_response_not_found invalid_encrypted_content invalid_image invalid_image_format invalid_base64_image invalid_image_url ' +
    'image_too_large image_too_small image_parse_error image_content_policy_violation invalid_image_mode image_file_too_large ' +
    'unsupported_image_media_type empty_image_file failed_to_download_image image_file_not_found invalid_request_error',
}

const verdicts: ReadonlyMap<string, CodeVerdict> = new Map(
  codeVerdicts.flatMap(verdict => codesByVerdict[verdict].split(' ').map(code => [code, verdict] as const)),
)

/** The last of several members of one name counts for most readers, another for some: all are renamed. */
function modelCuts(bytes: Buffer, objectAt: number, to: string, from: string | null): Cut[] {
  const members = scanObject(bytes, modelName, { from: objectAt })?.members ?? []
  return members
    .filter(({ valueStart, valueEnd }) => from === null || isText(bytes.toString('utf8', valueStart, valueEnd), from))
    .map(({ valueStart, valueEnd }) => ({ start: valueStart, end: valueEnd, text: JSON.stringify(to) }))
}

function isText(json: string, text: string): boolean {
  try {
    return JSON.parse(json) === text
  } catch {
    // Not JSON, so it is not that text.
    return false
  }
}

function joined(bytes: Buffer, cuts: readonly Cut[]): Buffer {
  return cuts.length === 0 ? bytes : Buffer.concat(cut(bytes, cuts))
}

export function textOr(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function event(type: string, data: unknown): Buffer {
  return Buffer.from(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`)
}

function responseIn(data: string): Fields | undefined {
  try {
    const { response } = JSON.parse(data)
    return isFields(response) ? response : undefined
  } catch {
    // A lifecycle event that cannot be read was passed on as it came; the failure must be readable all the same.
    return undefined
  }
}

/** Every field that clients expect of a response: npm openai 7.57.0 (`Response`) and the Open Responses suite, which allows none to be missing. */
function emptyResponse(id: string, createdAtMs: number): Fields {
  return {
    id,
    object: 'response',
    created_at: Math.floor(createdAtMs / 1000),
    completed_at: null,
    status: 'failed',
    background: false,
    error: null,
    incomplete_details: null,
    access_programs: null,
    conversation: null,
    frequency_penalty: 0,
    instructions: null,
    max_output_tokens: null,
    max_tool_calls: null,
    metadata: {},
    model: '',
    output: [],
    parallel_tool_calls: true,
    presence_penalty: 0,
    previous_response_id: null,
    prompt: null,
    prompt_cache_key: null,
    reasoning: { effort: null, summary: null },
    safety_identifier: null,
    service_tier: 'default',
    store: false,
    temperature: 1,
    text: { format: { type: 'text' } },
    tool_choice: 'auto',
    tools: [],
    top_logprobs: 0,
    top_p: 1,
    truncation: 'disabled',
    usage: null,
    user: null,
  }
}
