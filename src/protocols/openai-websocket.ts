import { sizeOf } from './input-size.ts'
import { type Fields, isFields } from './json.ts'
import { fieldNames, readFacts, referencesIn, responses } from './openai-responses.ts'
import type { CallReading, FieldSpan, Protocol } from './protocol.ts'
import { namesToFind, scanObject } from './scan.ts'
import { dataInPlace } from './sse.ts'

/**
 * `GET /v1/responses` as a WebSocket: the same calls and the same events, each of them one message (PROTOCOL.md 1.4). Within the gateway
 * a message of the upstream is an event of a stream, so that everything that reads answers reads these too.
 */
export const overSocket: Protocol = { ...responses, name: 'websocket', readCall: readCreate }

const createNames = namesToFind([...fieldNames, 'type', 'stream_id'])
const envelopeNames = namesToFind(['type', 'stream_id'])

/** Over a socket every answer is a stream, whatever the message says. */
function readCreate(message: Buffer): CallReading {
  const reading = readFacts(message, createNames)
  return 'facts' in reading ? { facts: { ...reading.facts, stream: true } } : reading
}

/** What a client's message is, and the lane it is for; what nobody has checked yet. */
export interface Envelope {
  readonly type: unknown
  /** Undefined for the lane without a name. */
  readonly streamId: unknown
}

/** Of a message that was read already, as far as it could be. */
export function envelopeOf(message: Buffer, reading: CallReading): Envelope {
  if ('facts' in reading) {
    const { type, stream_id: streamId } = reading.facts.fields
    return { type: valueIn(message, type), streamId: valueIn(message, streamId) }
  }
  return envelopeIn(message)
}

const laneNames = /^[A-Za-z0-9_.-]{1,256}$/

export function isLaneName(name: unknown): name is string {
  return typeof name === 'string' && laneNames.test(name)
}

/** Of a `response.steer`: what it is for and what it says; undefined when it cannot be read. */
export interface Steer {
  readonly target: unknown
  readonly input: unknown
  /** An upper estimate. */
  readonly inputTokens: number
  readonly mediaTokens: number
  readonly fileIds: readonly string[]
  readonly itemReferences: readonly string[]
}

const steerNames = namesToFind(['type', 'stream_id', 'previous_response_id', 'input'])

/** One in which a field that is read here stands twice cannot be: the upstream, which gets it as it came, might read the other one. */
export function readSteer(message: Buffer): Steer | undefined {
  const names = scanObject(message, steerNames)?.members.map(({ name }) => name) ?? []
  const fields = new Set(names).size === names.length ? parsed(message) : undefined
  if (fields === undefined) return undefined
  const { previous_response_id: target, input } = fields
  const { tokens, mediaTokens, fileIds } = sizeOf(fields, message.length)
  return { target, input, inputTokens: tokens, mediaTokens, fileIds, itemReferences: Array.isArray(input) ? referencesIn(input) : [] }
}

/** One message of an upstream. */
export interface ServerMessage {
  readonly bytes: Buffer
  readonly type: string
  readonly streamId: string | undefined
}

/** Undefined for what is no message of this protocol. */
export function readServerMessage(bytes: Buffer): ServerMessage | undefined {
  const { type, streamId } = envelopeIn(bytes)
  if (typeof type !== 'string') return undefined
  return { bytes, type, streamId: typeof streamId === 'string' ? streamId : undefined }
}

/** The id of the response that an event is about, where it says so. */
export function responseIdIn(message: Buffer): string | undefined {
  const response = scanObject(message, responseName, { membersMax: 1 })?.members[0]
  const id = response && scanObject(message, idName, { from: response.valueStart, membersMax: 1 })?.members[0]
  const value = valueIn(message, id)
  return typeof value === 'string' ? value : undefined
}

const responseName = namesToFind(['response'])
const idName = namesToFind(['id'])

/** The id of the response that a `response.steer.*` is about. */
export function steeredIdIn(message: Buffer): string | undefined {
  const steer = parsed(message)?.steer
  const id = isFields(steer) ? steer.previous_response_id : undefined
  return typeof id === 'string' ? id : undefined
}

/** What an `error` that belongs to no response says, as the HTTP answer that it would have been. */
export function refusalIn(message: Buffer): {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
} {
  const fields = parsed(message) ?? {}
  const { headers, ...error } = isFields(fields.error) ? fields.error : { message: textOr(fields.message), code: fields.code ?? null }
  const { status } = fields
  const told = Object.entries(isFields(headers) ? headers : {}).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  return {
    status: typeof status === 'number' && status >= 400 && status < 600 ? status : 500,
    headers: Object.fromEntries(told.map(([name, value]) => [name.toLowerCase(), value])),
    body: Buffer.from(JSON.stringify({ error })),
  }
}

/** How a client is told of something that belongs to no response. */
export interface ErrorMessage {
  readonly status: number
  readonly error: Fields
  /** What an HTTP answer would have said in its headers. */
  readonly headers: Readonly<Record<string, string>>
  readonly streamId: string | undefined
}

export function errorMessage({ status, error, headers, streamId }: ErrorMessage): Buffer {
  const said = Object.keys(headers).length === 0 ? error : { ...error, headers }
  return Buffer.from(JSON.stringify({ type: 'error', status, error: said, ...lane(streamId) }))
}

/** A steering that came to nothing, given back to the client. */
export function steerFailed(
  { target, input }: Pick<Steer, 'target' | 'input'>,
  error: { readonly type: string; readonly code: string | null; readonly message: string },
  streamId: string | undefined,
): Buffer {
  const steer = { input: input ?? null, previous_response_id: typeof target === 'string' ? target : '' }
  return Buffer.from(JSON.stringify({ type: 'response.steer.failed', sequence_number: 0, error, steer, ...lane(streamId) }))
}

function lane(streamId: string | undefined): { stream_id?: string } {
  return streamId === undefined ? {} : { stream_id: streamId }
}

/** A message as the event of a stream. Its bytes stay, but for line ends between tokens of JSON: an event's data is one line. */
export function eventOf({ bytes, type }: ServerMessage): Buffer {
  const line = bytes.includes(lf) || bytes.includes(cr) ? Buffer.from(bytes.toString('latin1').replace(/[\r\n]/g, ' '), 'latin1') : bytes
  // Only a name that is one word may stand on a line of its own; for any other the data says what it is.
  return Buffer.concat(/^[\w.-]+$/.test(type) ? [Buffer.from(`event: ${type}\ndata: `), line, eventEnd] : [dataStart, line, eventEnd])
}

const lf = 0x0a
const cr = 0x0d
const dataStart = Buffer.from('data: ')
const eventEnd = Buffer.from('\n\n')

/** The event's data, which is a message, in the lane it belongs to. An event of the upstream's names its lane itself. */
export function messageOf(event: Buffer, streamId: string | undefined): Buffer {
  const { bytes, from } = dataInPlace(event)
  let to = bytes.length
  while (to > from && (bytes[to - 1] === lf || bytes[to - 1] === cr)) to -= 1
  const message = bytes.subarray(from, to)
  if (streamId === undefined) return message
  const scan = scanObject(message, streamIdName, { membersMax: 1 })
  if (scan === undefined || scan.members.length > 0) return message
  const member = `"stream_id":${JSON.stringify(streamId)}${scan.isEmpty ? '' : ','}`
  return Buffer.concat([message.subarray(0, scan.insertAt), Buffer.from(member), message.subarray(scan.insertAt)])
}

const streamIdName = namesToFind(['stream_id'])

function envelopeIn(message: Buffer): Envelope {
  const members = scanObject(message, envelopeNames)?.members ?? []
  const last = (wanted: string) =>
    valueIn(
      message,
      members.findLast(({ name }) => name === wanted),
    )
  return { type: last('type'), streamId: last('stream_id') }
}

/** Names and ids are short: what is longer is none. */
const valueBytesMax = 4096

function valueIn(bytes: Buffer, span: FieldSpan | undefined): unknown {
  if (span === undefined) return undefined
  if (span.valueEnd - span.valueStart > valueBytesMax) return null
  try {
    return JSON.parse(bytes.toString('utf8', span.valueStart, span.valueEnd))
  } catch {
    return null // Not JSON, and so not what was looked for.
  }
}

function parsed(message: Buffer): Fields | undefined {
  try {
    const value: unknown = JSON.parse(message.toString())
    return isFields(value) ? value : undefined
  } catch {
    return undefined // Whoever asks says what that means.
  }
}

function textOr(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
