import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../lib/clock.ts'
import { Fault } from '../lib/fault.ts'
import { newId } from '../lib/id.ts'
import { responses } from '../protocols/openai-responses.ts'
import type { Protocol } from '../protocols/protocol.ts'
import { addressOf } from './address.ts'
import { type Client, HttpClient } from './client.ts'
import { Door } from './door/door.ts'
import type { Gateway } from './gateway.ts'
import { Intake } from './intake.ts'
import { NodeWire } from './node-wire.ts'
import { refuseRaw } from './raw-answer.ts'
import { type Answer, routeOf } from './routes.ts'
import { openSockets, type Sockets } from './websocket/upgrade.ts'
import type { Asking, Wire } from './wire.ts'

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
  /** Calls being handled. */
  readonly count: number
  /** Calls that came since the start. */
  readonly total: number
  /** Of these, how many are not begun yet. */
  readonly unread: number
  /** Resolves when no call is being handled any more. */
  idle(): Promise<void>
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
  const underWay = new UnderWay(() => intake.ended())
  const intake = openIntake(gateway, { underWay, beside, settings })
  const answering = new WeakMap<Socket, ServerResponse>()
  let isClosing = false
  const sockets = openSockets(gateway, work => underWay.track(work))
  const server = createServer({
    headersTimeout: settings.headersTimeoutMs,
    requestTimeout: 0, // Bodies have limits of their own: a slow but honest upload is no attack.
    connectionsCheckingInterval: connectionCheckMs,
    keepAliveTimeout: keepAliveMs,
    maxHeaderSize: headerBytesMax,
    highWaterMark: Math.floor(settings.readerBufferBytes * fullShare),
  })

  function begin({ path, protocol, answer }: Called, wire: Wire): void {
    const open = () => {
      const client = newClient(wire, protocol, gateway)
      return answer(client, path, gateway).catch(error => mishandled(error, client, gateway))
    }
    underWay.track(intake.hasRoom ? open() : intake.wait(keyOf(wire.asking), wire, () => begunSurely(open, wire, gateway)))
  }

  function take(request: IncomingMessage, response: ServerResponse): void {
    if (isClosing) response.shouldKeepAlive = false
    answering.set(request.socket, response)
    const path = pathOf(request.url)
    if (path.startsWith(adminPrefix)) return beside.admin(request, response)
    const own = request.method === 'GET' ? ownPaths[path] : undefined
    if (own !== undefined) return void serveOwn(own, response, { gateway, beside })
    const wire = new NodeWire(request, response, gateway.clock)
    const called = calledBy(request.method, path)
    if (called !== undefined) return begin(called, wire)
    const route = routeOf(path)
    misdirected(newClient(wire, route?.protocol ?? responses, gateway), path, route !== undefined, gateway)
  }

  const door = new Door(server, {
    clock: gateway.clock,
    headersTimeoutMs: settings.headersTimeoutMs,
    keepAliveMs,
    isClosing: () => isClosing,
    takes({ method, url }) {
      const called = calledBy(method, pathOf(url))
      return called && (wire => begunAtOnce(() => begin(called, wire), wire, gateway))
    },
  })
  const receive = surely(take, gateway)
  server.on('request', receive)
  // An expectation that nobody knows may be overlooked (RFC 9110, 10.1.1). Node would refuse it with neither words nor an id.
  server.on('checkExpectation', receive)
  server.on('upgrade', (request, socket: Socket, head) => sockets.upgrade(request, socket, head))
  server.on('clientError', (error, socket: Socket) => {
    const answer = answering.get(socket)
    if (answer?.headersSent && !answer.writableFinished) endAfter(answer, socket)
    else refuseUnreadable(error, socket, gateway.clock)
  })

  return {
    server,
    sockets,
    closeConnections() {
      isClosing = true
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
    get count() {
      return underWay.count
    },
    get total() {
      return underWay.total
    },
    get unread() {
      return intake.waiting
    },
    idle: () => underWay.idle(),
  }
}

/** What is being done for clients. None of it rejects. */
class UnderWay {
  #count = 0
  #total = 0
  #atRest: PromiseWithResolvers<void> | undefined
  readonly #told: () => void
  readonly #ended = () => {
    this.#count -= 1
    this.#told()
    if (this.#count > 0) return
    this.#atRest?.resolve()
    this.#atRest = undefined
  }

  /** `told` is called at each end. */
  constructor(told: () => void) {
    this.#told = told
  }

  get count(): number {
    return this.#count
  }

  /** Of all, those that are over included. */
  get total(): number {
    return this.#total
  }

  track(work: Promise<void>): void {
    this.#count += 1
    this.#total += 1
    work.then(this.#ended)
  }

  async idle(): Promise<void> {
    while (this.#count > 0) await (this.#atRest ??= Promise.withResolvers<void>()).promise
  }
}

/** How long the number of those in lines is believed: it takes a look at every line. */
const lookAtLinesMs = 10

/** What is in hand is what has begun, but for those who wait for a slot and those who are with an upstream. */
function openIntake(
  { clock, metrics, live, drain }: Gateway,
  { underWay, beside, settings }: { underWay: UnderWay; beside: Beside; settings: ServeSettings },
): Intake {
  const { callsInHandMax } = settings
  let inLine = 0
  let lookedMs = Number.NEGATIVE_INFINITY
  function inHand(): number {
    const begun = underWay.count - intake.waiting - Math.max(0, live.size - drain.count)
    if (begun < callsInHandMax) return begun
    const nowMs = clock.elapsedMs()
    if (nowMs - lookedMs >= lookAtLinesMs) {
      inLine = beside.inLine()
      lookedMs = nowMs
    }
    return begun - inLine
  }
  const intake = new Intake({ callsInHandMax, clock, metrics, inHand, idleMs: () => performance.eventLoopUtilization().idle })
  return intake
}

/** Only to tell one key from another: what it is worth is found out later. */
function keyOf({ headers }: Asking): string {
  const { authorization, 'x-api-key': key } = headers
  return authorization ?? String(key ?? '')
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

/** The same for a call that waited: nobody would catch what it throws then. */
async function begunSurely(begin: () => Promise<void>, wire: Wire, gateway: Gateway): Promise<void> {
  try {
    await begin()
  } catch (error) {
    notTaken(error, gateway)
    wire.cut()
  }
}

function begunAtOnce(begin: () => void, wire: Wire, gateway: Gateway): void {
  try {
    begin()
  } catch (error) {
    notTaken(error, gateway)
    wire.cut()
  }
}

function notTaken(error: unknown, { log, metrics }: Pick<Gateway, 'log' | 'metrics'>): void {
  log.error({ err: error }, 'a request could not be taken')
  metrics.unauthenticated.inc({ fault: 'unforeseen' })
}

/** What is asked, in whose words, and who answers it. */
interface Called {
  readonly path: string
  readonly protocol: Protocol
  readonly answer: Answer
}

function calledBy(method: string | undefined, path: string): Called | undefined {
  const route = routeOf(path)
  const answer = route?.answers[method ?? '']
  return route && answer && { path, protocol: route.protocol, answer }
}

/** Without its query string. */
function pathOf(url = '/'): string {
  const at = url.indexOf('?')
  return at === -1 ? url : url.slice(0, at)
}

/** Handling never rejects; if it does, that is our mistake, and the client hears of it. */
function mishandled(error: unknown, client: Client, gateway: Gateway): void {
  gateway.log.error({ call: client.id, err: error }, 'a call could not be handled')
  gateway.metrics.unauthenticated.inc({ fault: 'unforeseen' })
  client.refuse(Fault.from(error), '')
}

/** In the middle of an answer a second one would be read as a part of it; one that was said whole may still leave. */
function endAfter(answer: ServerResponse, socket: Socket): void {
  if (answer.writableEnded) socket.destroySoon()
  else socket.destroy()
}

function newClient(wire: Wire, protocol: Protocol, { clock, settings, trustedProxies }: Gateway): Client {
  const id = newId(clock.nowMs())
  return new HttpClient(wire, { id, protocol, address: addressOf(wire.asking, trustedProxies), clock, settings })
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
