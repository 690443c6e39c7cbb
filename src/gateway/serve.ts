import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../lib/clock.ts'
import { Fault } from '../lib/fault.ts'
import { responses } from '../protocols/openai-responses.ts'
import { Calls, calledBy, newClient, notTaken } from './calls.ts'
import type { Client } from './client.ts'
import { Door } from './door/door.ts'
import type { Gateway } from './gateway.ts'
import { NodeWire } from './node-wire.ts'
import { refuseRaw } from './raw-answer.ts'
import { routeOf } from './routes.ts'
import { openSockets, type Sockets } from './websocket/upgrade.ts'

/** Everything that this port serves besides calls. */
export interface Beside {
  /** The control plane. Told apart by its path alone. */
  readonly admin: (request: IncomingMessage, response: ServerResponse) => void
  /** Why no calls should be sent here; empty when they may. */
  readonly notReady: () => Promise<readonly string[]>
  /** What an operator should know of, though calls may be sent here. */
  readonly troubles: () => readonly string[]
  /** Calls that stand in the lines of users and pools. Dear: not to be asked with every call. */
  readonly inLine: () => number
}

export interface Serving {
  readonly server: Server
  readonly sockets: Sockets
  /**
   * From now on every answer asks the client to close its connection. One that is idle stays until the server closes: its client may just be
   * sending the next call.
   */
  closeConnections(): void
  /** Nobody new comes in, and who waits for the next call of a connection waits no more. Resolves when the last connection has ended. */
  close(): Promise<void>
  /** Ends every connection, whatever goes by it. */
  closeAllConnections(): void
  readonly calls: Calls
}

export interface ServeSettings {
  readonly headersTimeoutMs: number
  /** What is held of an answer for a slow reader, beyond one event. */
  readonly readerBufferBytes: number
  /** How many calls may be in hand at once; 0 is any number. */
  readonly callsInHandMax: number
}

const adminPrefix = '/admin/'

/** How often Node looks for connections whose headers are late. Milliseconds. */
const connectionCheckMs = 500
const keepAliveMs = 72_000
const headerBytesMax = 32 * 1024
/** A response is full at this share of what may be held for its reader: what the upstream's last chunk brought comes on top. */
const fullShare = 1 / 8

export function openServer(gateway: Gateway, beside: Beside, settings: ServeSettings): Serving {
  const calls = new Calls(gateway, beside.inLine, settings.callsInHandMax)
  const sockets = openSockets(gateway, work => calls.track(work))
  const state = { isClosing: false }
  const server = createServer({
    headersTimeout: settings.headersTimeoutMs,
    requestTimeout: 0, // Bodies have limits of their own: a slow but honest upload is no attack.
    connectionsCheckingInterval: connectionCheckMs,
    keepAliveTimeout: keepAliveMs,
    maxHeaderSize: headerBytesMax,
    highWaterMark: Math.floor(settings.readerBufferBytes * fullShare),
  })
  const door = new Door(server, {
    clock: gateway.clock,
    headersTimeoutMs: settings.headersTimeoutMs,
    keepAliveMs,
    isClosing: () => state.isClosing,
    takes({ method, url }) {
      const called = calledBy(method, pathOf(url))
      return called && (wire => calls.beginSurely(called, wire))
    },
  })
  listenForNode(server, { gateway, beside, calls, state })
  server.on('upgrade', (request, socket: Socket, head) => sockets.upgrade(request, socket, head))
  return {
    server,
    sockets,
    calls,
    closeConnections() {
      state.isClosing = true
    },
    close() {
      const closed = new Promise<void>(resolve => void server.close(() => resolve()))
      door.closeIdle()
      return closed
    },
    closeAllConnections() {
      server.closeAllConnections()
      door.closeAll()
    },
  }
}

interface Listening {
  readonly gateway: Gateway
  readonly beside: Beside
  readonly calls: Calls
  readonly state: { readonly isClosing: boolean }
}

/** What Node reads, and what it cannot. */
function listenForNode(server: Server, { gateway, beside, calls, state }: Listening): void {
  const answering = new WeakMap<Socket, ServerResponse>()
  function take(request: IncomingMessage, response: ServerResponse): void {
    if (state.isClosing) response.shouldKeepAlive = false
    answering.set(request.socket, response)
    const path = pathOf(request.url)
    if (path.startsWith(adminPrefix)) return beside.admin(request, response)
    const own = request.method === 'GET' ? ownPaths[path] : undefined
    if (own !== undefined) return void serveOwn(own, response, { gateway, beside })
    const wire = new NodeWire(request, response, gateway.clock)
    const called = calledBy(request.method, path)
    if (called !== undefined) return calls.begin(called, wire)
    const route = routeOf(path)
    misdirected(newClient(wire, route?.protocol ?? responses, gateway), path, route !== undefined, gateway)
  }

  const receive = surely(take, gateway)
  server.on('request', receive)
  // An expectation that nobody knows may be overlooked (RFC 9110, 10.1.1). Node would refuse it with neither words nor an id.
  server.on('checkExpectation', receive)
  server.on('clientError', (error, socket: Socket) => {
    const answer = answering.get(socket)
    if (answer?.headersSent && !answer.writableFinished) endAfter(answer, socket)
    else refuseUnreadable(error, socket, gateway.clock)
  })
}

/** A mistake of ours with one request must not end the program, and with it all others. */
function surely(take: RequestListener, gateway: Gateway): RequestListener {
  return (request, response) => {
    try {
      take(request, response)
    } catch (error) {
      notTaken(error, gateway)
      if (response.headersSent) response.destroy()
      else tell(response, 500, new Fault('unforeseen').body)
    }
  }
}

/** Without its query string. */
function pathOf(url = '/'): string {
  const at = url.indexOf('?')
  return at === -1 ? url : url.slice(0, at)
}

/** In the middle of an answer a second one would be read as a part of it; one that was said whole may still leave. */
function endAfter(answer: ServerResponse, socket: Socket): void {
  if (answer.writableEnded) socket.destroySoon()
  else socket.destroy()
}

function misdirected(client: Client, path: string, isKnown: boolean, { metrics }: Gateway): void {
  const method = client.request.method ?? ''
  const fault = new Fault(isKnown ? 'method_unknown' : 'path_unknown', { values: { method, path: path.slice(0, 200) } })
  metrics.unauthenticated.inc({ fault: fault.fault })
  client.refuse(fault, '')
}

type OwnPath = (response: ServerResponse, gateway: Gateway, beside: Beside) => Promise<void> | void

const ownPaths: Readonly<Record<string, OwnPath>> = {
  '/livez': response => tell(response, 200, { alive: true }),
  async '/readyz'(response, _, { notReady, troubles }) {
    const why = await notReady()
    tell(response, why.length === 0 ? 200 : 503, { ready: why.length === 0, why, troubles: troubles() })
  },
  async '/metrics'(response, { metrics }) {
    response.writeHead(200, { 'content-type': metrics.registry.contentType }).end(await metrics.registry.metrics())
  },
}

async function serveOwn(own: OwnPath, response: ServerResponse, { gateway, beside }: { gateway: Gateway; beside: Beside }): Promise<void> {
  try {
    await own(response, gateway, beside)
  } catch (error) {
    gateway.log.error({ err: error }, 'a page of the gateway’s own could not be made')
    if (!response.headersSent) tell(response, 500, { error: 'see the log' })
  }
}

function tell(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** What is no HTTP, or too slow, or too long a header: there is no request to answer, only a socket. */
function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket, clock: Clock): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
  const status = { ERR_HTTP_REQUEST_TIMEOUT: 408, HPE_HEADER_OVERFLOW: 431 }[error.code ?? '']
  refuseRaw(socket, new Fault('body_unreadable'), clock, { status })
}
