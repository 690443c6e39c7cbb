import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { notJson, parseObject, type Refusal, refusal } from './asked.ts'
import type { Parts, SocketLimits } from './parts.ts'
import type { Play } from './run.ts'
import type { End } from './script.ts'
import { respond, type Speaking } from './speak.ts'
import { steer } from './steer.ts'

/** One WebSocket, and what it remembers. */
export interface Connection {
  readonly ws: WebSocket
  readonly socket: Socket
  readonly key: string
  readonly limits: SocketLimits
  /** By `stream_id`; the nameless lane is ''. A lane stays until the socket is closed. */
  readonly lanes: Map<string, Lane>
  /** Each response that is being given, by what ends it. */
  readonly underWay: Map<AbortController, Play>
  /** Context tokens of the responses that were given here, stored or not. */
  readonly remembered: Map<string, number>
  /** The responses of this socket, by their ids; undefined once they are over. */
  readonly speaking: Map<string, Speaking | undefined>
  /** Accepted steering that waits for the outputs of its response's calls, by the id of that response. */
  readonly waiting: Map<string, readonly unknown[]>
  /** Creates that have not ended. */
  inFlight: number
  /** The upstream ended it: who leaves now has not left early. */
  isOver: boolean
}

/** Creates that follow one another. */
export interface Lane {
  readonly queue: Create[]
  isBusy: boolean
}

export interface Create {
  readonly streamId: string | undefined
  readonly fields: Readonly<Record<string, unknown>>
}

export function newConnection(of: Pick<Connection, 'ws' | 'socket' | 'key' | 'limits'>): Connection {
  return {
    ...of,
    lanes: new Map(),
    underWay: new Map(),
    remembered: new Map(),
    speaking: new Map(),
    waiting: new Map(),
    inFlight: 0,
    isOver: false,
  }
}

/** Takes one message of the client. */
export function hear(connection: Connection, data: Buffer, isBinary: boolean, parts: Parts): void {
  if (connection.isOver) return
  const fields = isBinary ? undefined : parseObject(data)
  if (fields === undefined) return sendError(connection, isBinary ? refusal(400, 'Binary frames are not supported.') : notJson(), undefined)
  if (fields.type === 'response.create') return take(connection, fields, parts)
  if (fields.type === 'response.steer') return steer(connection, fields)
  const message = `Invalid value: '${String(fields.type)}'. Supported values are: 'response.create' and 'response.steer'.`
  sendError(connection, refusal(400, message, 'invalid_value', 'type'), undefined)
}

/** An error that belongs to no response. */
export function sendError(
  connection: Connection,
  { status, error }: Refusal,
  more: { streamId?: string; headers?: object } | undefined,
): void {
  const { streamId, headers } = more ?? {}
  const told = {
    type: 'error',
    status,
    error: { ...error, ...(headers && { headers }) },
    ...(streamId !== undefined && { stream_id: streamId }),
  }
  connection.ws.send(JSON.stringify(told))
}

/** Ends a connection as a script ends an answer. */
export function endConnection(connection: Connection, end: Exclude<End, 'stall'>): void {
  connection.isOver = true
  if (end === 'eof') connection.ws.close(1000)
  else if (end === 'reset') connection.socket.resetAndDestroy()
  else connection.ws.terminate()
}

const streamIds = /^[A-Za-z0-9_.-]{1,256}$/

/** Puts a create into its lane, unless there is something wrong with it. */
function take(connection: Connection, fields: Record<string, unknown>, parts: Parts): void {
  const { stream_id: streamId, type: _, ...asked } = fields
  if (streamId !== undefined && !(typeof streamId === 'string' && streamIds.test(streamId))) {
    return sendError(
      connection,
      refusal(400, `Invalid 'stream_id': it must match ${streamIds.source}.`, 'invalid_value', 'stream_id'),
      undefined,
    )
  }
  const wrong = wrongCreate(connection, streamId, asked)
  if (wrong !== undefined) return sendError(connection, wrong, streamId === undefined ? undefined : { streamId })
  const name = streamId ?? ''
  let lane = connection.lanes.get(name)
  if (lane === undefined) connection.lanes.set(name, (lane = { queue: [], isBusy: false }))
  lane.queue.push({ streamId, fields: asked })
  connection.inFlight += 1
  if (!lane.isBusy) void speakInTurn(connection, lane, parts)
}

function wrongCreate(
  { lanes, limits, inFlight }: Connection,
  streamId: string | undefined,
  asked: Record<string, unknown>,
): Refusal | undefined {
  if (asked.background === true)
    return refusal(400, 'Background mode is not supported over a WebSocket.', 'unsupported_parameter', 'background')
  const named = [...lanes.keys()].filter(name => name !== '')
  if (streamId !== undefined && !lanes.has(streamId) && named.length >= limits.lanesMax) return tooMuch(`${limits.lanesMax} streams`)
  return inFlight >= limits.inFlightMax ? tooMuch(`${limits.inFlightMax} responses in flight`) : undefined
}

function tooMuch(what: string): Refusal {
  return refusal(400, `Responses websocket limit reached (${what} per connection).`, 'websocket_stream_limit_reached')
}

async function speakInTurn(connection: Connection, lane: Lane, parts: Parts): Promise<void> {
  const { ws } = connection
  const busy = new AbortController() // Between two responses of a lane nothing is idle.
  parts.running.add(busy)
  lane.isBusy = true
  for (let next = lane.queue.shift(); next !== undefined; next = lane.queue.shift()) {
    if (!connection.isOver && ws.readyState === ws.OPEN) await respond(connection, next, parts)
    connection.inFlight -= 1
  }
  lane.isBusy = false
  parts.running.delete(busy)
  parts.watch.changed()
}
