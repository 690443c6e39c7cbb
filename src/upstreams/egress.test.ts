import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { systemClock } from '../lib/clock.ts'
import { Roster } from '../lib/roster.ts'
import { responses } from '../protocols/openai-responses.ts'
import { Attempt, type AttemptParts, type Beginning } from './attempt.ts'
import { type Egress, type Outbound, openEgress, type Route } from './egress.ts'

const settings = { jsonHeadersTimeoutMs: 5000, firstEventTimeoutMs: 5000, betweenBytesTimeoutMs: 5000, answerBytesMax: 1_000_000 }
const guarded: Route = { proxy: null, allowPrivateAddress: false }
const open: Route = { proxy: null, allowPrivateAddress: true }

test.for([
  ['plain http', 'http://203.0.113.7'],
  ['loopback', 'https://127.0.0.1'],
  ['loopback by another name', 'https://127.1.2.3'],
  ['loopback as a number', 'https://2130706433'],
  ['a private network', 'https://10.1.2.3'],
  ['link-local: where clouds keep their secrets', 'https://169.254.169.254'],
  ['IPv6 loopback', 'https://[::1]'],
  ['IPv4 inside IPv6', 'https://[::ffff:127.0.0.1]'],
  ['unique local IPv6', 'https://[fd00::1]'],
  ['unspecified', 'https://0.0.0.0'],
])('%s is not reached unless the account allows it', async ([, origin]) => {
  await using egress = disposable(openEgress({ connectTimeoutMs: 1000 }, systemClock))
  const beginning = await attempt({ ...get(origin!), route: guarded }, egress)
  expect(beginning).toMatchObject({ kind: 'fault', fault: { name: 'egress_forbidden' } })
})

test('a name that resolves to a private address is not reached, and nothing is connected', async () => {
  let connections = 0
  const trap = createTcpServer(socket => {
    connections += 1
    socket.destroy()
  })
  await once(trap.listen(0, '127.0.0.1'), 'listening')
  await using egress = disposable(openEgress({ connectTimeoutMs: 1000 }, systemClock))
  const beginning = await attempt({ ...get(`https://localhost:${portOf(trap)}`), route: guarded }, egress)
  expect(beginning).toMatchObject({ kind: 'fault', fault: { name: 'egress_forbidden' } })
  expect(String((beginning as { cause?: Error }).cause?.message)).toMatch(/localhost resolves to .* not a public address/)
  expect(connections).toBe(0)
  trap.close()
})

test('a WebSocket is opened under the same checks', async () => {
  let connections = 0
  const trap = createTcpServer(socket => {
    connections += 1
    socket.destroy()
  })
  await once(trap.listen(0, '127.0.0.1'), 'listening')
  await using egress = disposable(openEgress({ connectTimeoutMs: 1000 }, systemClock))
  const target = (origin: string, route: Route) => ({ origin, path: '/v1/responses', headers: {}, route, messageBytesMax: 1000 })
  for (const origin of ['https://127.0.0.1', 'http://example.com']) expect(() => egress.openSocket(target(origin, guarded))).toThrow()
  expect(() => egress.openSocket(target('https://example.com', { ...open, proxy: 'http://127.0.0.1:1' }))).toThrow('proxy')
  const ws = egress.openSocket(target(`https://localhost:${portOf(trap)}`, guarded))
  const [error] = await once(ws, 'error')
  expect(String(error.message)).toMatch(/localhost resolves to .* not a public address/)
  expect(connections).toBe(0)
  trap.close()
})

test('the account that allows it reaches a private address', async () => {
  const server = createServer((_, response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"object":"list"}'))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  await using egress = disposable(openEgress({ connectTimeoutMs: 1000 }, systemClock))
  expect(await attempt({ ...get(`http://localhost:${portOf(server)}`), route: open }, egress)).toMatchObject({ kind: 'json', status: 200 })
  server.closeAllConnections()
  server.close()
})

test('a redirect is not followed', async () => {
  const paths: string[] = []
  const server = createServer((request, response) => {
    paths.push(request.url ?? '')
    response.writeHead(307, { location: '/elsewhere' }).end()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  await using egress = disposable(openEgress({ connectTimeoutMs: 1000 }, systemClock))
  const beginning = await attempt({ ...get(`http://127.0.0.1:${portOf(server)}`), route: open }, egress)
  expect(beginning).toMatchObject({ kind: 'fault', fault: { name: 'redirect', status: 307 } })
  expect(paths).toEqual(['/v1/models'])
  server.closeAllConnections()
  server.close()
})

test('a proxy at a private address is not used unless the account allows it', async () => {
  let connections = 0
  const trap = createTcpServer(socket => {
    connections += 1
    socket.destroy()
  })
  await once(trap.listen(0, '127.0.0.1'), 'listening')
  await using egress = disposable(openEgress({ connectTimeoutMs: 1000 }, systemClock))
  for (const host of ['127.0.0.1', 'localhost']) {
    const route = { proxy: `http://${host}:${portOf(trap)}`, allowPrivateAddress: false }
    const beginning = await attempt({ ...get('https://upstream.example'), route }, egress)
    expect(beginning).toMatchObject({ kind: 'fault', fault: { name: 'egress_forbidden' } })
  }
  expect(connections).toBe(0)
  trap.close()
})

test('an account with a proxy goes through it', async () => {
  const server = createServer((_, response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"object":"list"}'))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const targets: string[] = []
  const proxy = createServer().on('connect', (request, socket: Socket) => {
    targets.push(request.url ?? '')
    const tunnel = connect(portOf(server), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      socket.pipe(tunnel).pipe(socket)
    })
    socket.on('error', () => tunnel.destroy())
    tunnel.on('error', () => socket.destroy())
  })
  await once(proxy.listen(0, '127.0.0.1'), 'listening')
  await using egress = disposable(openEgress({ connectTimeoutMs: 1000 }, systemClock))
  const route = { proxy: `http://127.0.0.1:${portOf(proxy)}`, allowPrivateAddress: true }
  expect(await attempt({ ...get('http://upstream.example:8080'), route }, egress)).toMatchObject({ kind: 'json', status: 200 })
  expect(targets).toEqual(['upstream.example:8080'])
  for (const one of [server, proxy]) {
    one.closeAllConnections()
    one.close()
  }
})

test('what a plain connection brings is as it was sent, and keeps no more in memory than itself', async () => {
  const sent = Buffer.from(Array.from({ length: 1_000_000 }, (_, at) => at % 251))
  const server = createServer((_, response) => response.writeHead(200).end(sent))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  await using egress = disposable(openEgress({ connectTimeoutMs: 1000 }, systemClock))
  const pieces: Buffer[] = []
  await new Promise<void>((resolve, reject) => {
    egress.send(
      { ...get(`http://127.0.0.1:${portOf(server)}`), route: open },
      {
        onRequestStart() {},
        onResponseStart() {},
        onResponseData: (_, piece) => void pieces.push(piece),
        onResponseEnd: () => resolve(),
        onResponseError: (_, error) => reject(error),
      },
    )
  })
  expect(Buffer.concat(pieces).equals(sent)).toBe(true)
  expect(Math.max(...pieces.map(({ buffer }) => buffer.byteLength))).toBeLessThanOrEqual(12 * 1024)
  server.closeAllConnections()
  server.close()
})

function get(origin: string): Omit<Outbound, 'route'> {
  return { origin, path: '/v1/models', method: 'GET', headers: {}, body: [] }
}

function attempt(outbound: Outbound, egress: Egress): Promise<Beginning> {
  const parts: AttemptParts = { egress, clock: systemClock, settings, live: new Roster() }
  return new Attempt(outbound, { protocol: responses, streams: false }, parts).beginning
}

function portOf(server: { address(): AddressInfo | string | null }): number {
  return (server.address() as AddressInfo).port
}

function disposable(egress: Egress): Egress & AsyncDisposable {
  return { ...egress, [Symbol.asyncDispose]: () => egress.close() }
}
