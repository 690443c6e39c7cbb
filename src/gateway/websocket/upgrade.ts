import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { WebSocketServer } from 'ws'
import type { Principal } from '../../directory/snapshot.ts'
import { Fault } from '../../lib/fault.ts'
import { addressOf } from '../address.ts'
import { authenticate } from '../authenticate.ts'
import type { Gateway } from '../gateway.ts'
import { refuseRaw } from '../raw-answer.ts'
import { ClientSocket } from './socket.ts'

/** The WebSockets of clients. */
export interface Sockets {
  readonly count: number
  /** Answers an upgrade: with a WebSocket, or with why not. */
  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void
}

/** The paths that speak it; any other upgrade is answered 426. */
const paths = /^(\/openai\/v1|\/v1)?\/responses(\?|$)/

/** `track` is told of all that is under way, so that nobody takes the gateway for idle meanwhile. */
export function openSockets(gateway: Gateway, track: (work: Promise<void>) => void): Sockets {
  const { bodyBytesMax: maxPayload } = gateway.settings
  // Without compression: what a small message may weigh would not be known before, and each socket would keep buffers for it.
  const server = new WebSocketServer({ noServer: true, perMessageDeflate: false, clientTracking: false, maxPayload })
  server.on('wsClientError', ({ message: what }, socket) =>
    refuse(socket as Socket, new Fault('upgrade_malformed', { values: { what } }), 'GET'),
  )
  const byUser = new Map<string, number>()
  let count = 0

  async function open(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const address = addressOf(request, gateway.trustedProxies)
    const principal = await admitted(request, address, gateway)
    const userId = principal.user.id
    const most = gateway.settings.socketsPerUserMax
    if ((byUser.get(userId) ?? 0) >= most) throw new Fault('sockets_full', { values: { most } })
    server.handleUpgrade(request, socket, head, ws => {
      count += 1
      byUser.set(userId, (byUser.get(userId) ?? 0) + 1)
      ws.once('close', () => {
        count -= 1
        const left = (byUser.get(userId) ?? 0) - 1
        if (left > 0) byUser.set(userId, left)
        else byUser.delete(userId)
      })
      new ClientSocket(ws, { request, address, gateway, track })
    })
  }

  function refuse(socket: Socket, fault: Fault, method: string | undefined): void {
    gateway.metrics.unauthenticated.inc({ fault: fault.fault })
    refuseRaw(socket, fault, gateway.clock, { method })
  }

  return {
    get count() {
      return count
    },
    upgrade(request, socket, head) {
      const broken = () => socket.destroy()
      socket.on('error', broken)
      open(request, socket, head).then(
        () => socket.off('error', broken),
        error => {
          const fault = Fault.from(error)
          if (fault.fault === 'unforeseen') gateway.log.error({ err: error }, 'an upgrade could not be answered')
          refuse(socket, fault, request.method)
        },
      )
    },
  }
}

async function admitted(request: IncomingMessage, address: string, gateway: Gateway): Promise<Principal> {
  const { upgrade = '' } = request.headers
  if (request.method !== 'GET' || !paths.test(request.url ?? '') || upgrade.toLowerCase() !== 'websocket') {
    throw new Fault('upgrade_unsupported')
  }
  if (gateway.closing.aborted) throw gateway.closing.reason
  const header = (name: string) => {
    const value = request.headers[name]
    return Array.isArray(value) ? value[0] : value
  }
  const principal = await authenticate({ request, address, header }, { principal: undefined }, gateway)
  const snapshot = gateway.directory.snapshot()
  const accounts = principal.groups.flatMap(({ id }) => snapshot.accountsOf(id))
  const speaks = accounts.some(({ capabilities, proxy, disabled }) => capabilities.websocket && proxy === null && !disabled)
  if (!speaks) throw new Fault('upgrade_unsupported')
  return principal
}
