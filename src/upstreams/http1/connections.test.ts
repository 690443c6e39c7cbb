import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, test, vi } from 'vitest'
import type { Clock } from '../../lib/clock.ts'
import { type Egress, openEgress } from '../egress.ts'
import { Connections, type Opener } from './connections.ts'
import { hasAsked, ok, openRawUpstream, type Seen } from './raw-upstream.fixture.ts'
import { ask, Told } from './told.fixture.ts'

/** Time that only passes when it is told to. */
class HandClock implements Clock {
  #nowMs = 0
  #timers: Array<{ atMs: number; then: () => void }> = []

  nowMs(): number {
    return this.#nowMs
  }

  elapsedMs(): number {
    return this.#nowMs
  }

  after(ms: number, then: () => void) {
    const timer = { atMs: this.#nowMs + ms, then }
    this.#timers.push(timer)
    return { restart() {}, [Symbol.dispose]() {} }
  }

  pass(ms: number): void {
    this.#nowMs += ms
    const due = this.#timers.filter(({ atMs }) => atMs <= this.#nowMs)
    this.#timers = this.#timers.filter(timer => !due.includes(timer))
    for (const { then } of due) then()
  }
}

function open(clock: Clock = new HandClock()): Egress & AsyncDisposable {
  const egress = openEgress({ connectTimeoutMs: 1000 }, clock)
  return { ...egress, [Symbol.asyncDispose]: () => egress.close() }
}

const answering = (text: string) => (seen: Seen) => {
  if (hasAsked(seen)) seen.socket.write(text, 'latin1')
}
const until = (is: () => boolean) => vi.waitFor(() => expect(is()).toBe(true), { interval: 2, timeout: 3000 })

test('what is written is the request and nothing else', async () => {
  await using upstream = await openRawUpstream(({ socket, text }) => text.includes('}') && socket.write(ok))
  await using egress = open()
  const body = [Buffer.from('{"a":'), Buffer.from('1}')]
  const headers = { 'Content-Type': 'application/json', 'x-\u0061': 'b\xff\tc' }
  await ask(egress, { origin: upstream.origin, method: 'POST', path: '/v1/x?y=z', headers, body }).over
  expect(upstream.seen[0]!.text).toBe(
    `POST /v1/x?y=z HTTP/1.1\r\nhost: 127.0.0.1:${upstream.port}\r\nconnection: keep-alive\r\nContent-Type: application/json\r\n` +
      'x-a: b\xff\tc\r\ncontent-length: 7\r\n\r\n{"a":1}',
  )
})

test('a length is said of no body where there might be one', async () => {
  await using upstream = await openRawUpstream(answering(ok))
  await using egress = open()
  for (const method of ['POST', 'GET', 'DELETE'] as const) await ask(egress, { origin: upstream.origin, method }).over
  const heads = upstream.seen[0]!.text.split('\r\n\r\n')
  expect(heads.map(head => head.includes('content-length: 0'))).toEqual([true, false, false, false])
})

test.for([
  ['the path', { path: '/a b' }],
  ['the path', { path: '/a\r\nx: y' }],
  ['the path', { path: 'http://elsewhere' }],
  ['a value', { headers: { a: 'b\r\nc: d' } }],
  ['a value', { headers: { a: 'b\nc' } }],
  ['a value', { headers: { a: 'b\0c' } }],
  ['a value', { headers: { a: 'b\u0100' } }],
  ['a name', { headers: { 'a\r\nb': 'c' } }],
  ['a name', { headers: { 'a b': 'c' } }],
  ['a name', { headers: { '': 'c' } }],
  ['a name', { headers: { 'Content-Length': '5' } }],
  ['a name', { headers: { 'transfer-encoding': 'chunked' } }],
  ['a name', { headers: { host: 'elsewhere' } }],
] as const)('a request in which %s is none is told of, and not sent: %o', async ([, flawed]) => {
  await using upstream = await openRawUpstream(answering(ok))
  await using egress = open()
  const told = ask(egress, { origin: upstream.origin, ...flawed })
  expect(told.events).toEqual([])
  await told.over
  expect(told).toMatchObject({ events: ['error'], error: { code: 'HEADGATE_REQUEST_FLAW' } })
  expect(upstream.seen).toEqual([])
})

test('one connection serves one request after the other, and two at once have two', async () => {
  await using upstream = await openRawUpstream(answering(ok))
  await using egress = open()
  for (let n = 0; n < 3; n += 1) expect(await ask(egress, upstream).over).toMatchObject({ status: 200, body: 'ok' })
  expect(upstream.seen).toHaveLength(1)
  await Promise.all([ask(egress, upstream).over, ask(egress, upstream).over])
  expect(upstream.seen).toHaveLength(2)
  await Promise.all([ask(egress, upstream).over, ask(egress, upstream).over])
  expect(upstream.seen).toHaveLength(2)
})

test('a connection that was kept long enough is not used any more, and is closed', async () => {
  await using upstream = await openRawUpstream(answering(ok))
  const clock = new HandClock()
  await using egress = open(clock)
  await ask(egress, upstream).over
  clock.pass(3_900)
  await ask(egress, upstream).over
  expect(upstream.seen).toHaveLength(1)
  clock.pass(3_900)
  expect(upstream.seen[0]!.isClosed).toBe(false)
  clock.pass(1_100)
  await until(() => upstream.seen[0]!.isClosed)
  await ask(egress, upstream).over
  expect(upstream.seen).toHaveLength(2)
})

test('an upstream says for how long a connection is kept', async () => {
  await using upstream = await openRawUpstream(answering('HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n'))
  const clock = new HandClock()
  await using egress = open(clock)
  await ask(egress, upstream).over
  clock.pass(2_500)
  await ask(egress, upstream).over
  expect(upstream.seen).toHaveLength(1)
  // Until 5,500; but at 5,550, when it was last looked for at 4,800, it has not been closed.
  for (const ms of [600, 600, 1_100, 750]) clock.pass(ms)
  await new Promise(setImmediate)
  expect(upstream.seen[0]!.isClosed).toBe(false)
  await ask(egress, upstream).over
  expect(upstream.seen).toHaveLength(2)
})

test('a connection that was taken for what was then given up is kept no longer than before', async () => {
  await using upstream = await openRawUpstream(answering(ok))
  const clock = new HandClock()
  await using egress = open(clock)
  await ask(egress, upstream).over
  clock.pass(3_900)
  await ask(egress, upstream, (event, { control }) => event === 'sent' && control.abort(new Error('not wanted'))).over
  clock.pass(600)
  await ask(egress, upstream).over
  expect(upstream.seen).toHaveLength(2)
})

test.for([
  ['says that it closes', 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'],
  ['is of HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n'],
  ['has more after it', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
])('a connection whose answer %s is not kept', async ([, text]) => {
  await using upstream = await openRawUpstream(answering(text!))
  await using egress = open()
  expect((await ask(egress, upstream).over).events).toEqual(['sent', 'head', 'end'])
  await until(() => upstream.seen[0]!.isClosed)
  await ask(egress, upstream).over
  expect(upstream.seen).toHaveLength(2)
})

test.for<[string, (seen: Seen) => void]>([
  ['ends', ({ socket }) => socket.end()],
  ['is reset', ({ socket }) => socket.resetAndDestroy()],
  ['brings what nobody asked for', ({ socket }) => socket.write('HTTP/1.1 408 Too late\r\nContent-Length: 0\r\n\r\n')],
])('an idle connection that %s is not used, even if it is seen only now', async ([, happens]) => {
  await using upstream = await openRawUpstream(answering(ok))
  await using egress = open()
  await ask(egress, upstream).over
  const told = await new Promise<Told>(resolve =>
    setImmediate(() => {
      happens(upstream.seen[0]!)
      resolve(ask(egress, upstream))
    }),
  )
  expect(await told.over).toMatchObject({ status: 200, events: ['sent', 'head', 'body', 'end'] })
  expect(upstream.seen).toHaveLength(2)
  await until(() => upstream.seen[0]!.isClosed)
})

test('a connection that is only kept does not keep a program alive', async () => {
  await using upstream = await openRawUpstream(answering('HTTP/1.1 200 OK\r\nKeep-Alive: timeout=600\r\nContent-Length: 0\r\n\r\n'))
  const from = (path: string) => JSON.stringify(new URL(path, import.meta.url).href)
  const program = `
    import { openEgress } from ${from('../egress.ts')}
    import { systemClock } from ${from('../../lib/clock.ts')}
    import { ask } from ${from('./told.fixture.ts')}
    const { status } = await ask(openEgress({ connectTimeoutMs: 1000 }, systemClock), { origin: '${upstream.origin}' }).over
    console.log(status)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program])
  let said = ''
  child.stdout.on('data', (bytes: Buffer) => {
    said += bytes
  })
  expect(await once(child, 'exit')).toEqual([0, null])
  expect(said).toBe('200\n')
})

test('whoever keeps the connections to an origin is told when none is left', async () => {
  await using upstream = await openRawUpstream(answering('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'))
  const emptied = vi.fn()
  const host = '127.0.0.1'
  let { port } = upstream
  const open: Opener = ({ opened, failed }) => {
    const socket = connect({ host, port }, () => opened(socket, false)).once('error', failed)
  }
  const connections = new Connections({ host, open, clock: new HandClock(), onEmpty: emptied })
  const outbound = {
    origin: '',
    path: '/',
    method: 'GET',
    headers: {},
    body: [],
    route: { proxy: null, allowPrivateAddress: true },
  } as const
  const told = [new Told(), new Told()]
  for (const one of told) connections.send(outbound, one)
  await Promise.all(told.map(({ over }) => over))
  expect(emptied).not.toHaveBeenCalled()
  await until(() => emptied.mock.calls.length === 1)
  port = 1 // Where nobody listens.
  const refused = new Told()
  connections.send(outbound, refused)
  await refused.over
  expect(emptied).toHaveBeenCalledTimes(2)
})

test('who cannot be reached is told of with its code, and not before it is sent', async () => {
  const upstream = await openRawUpstream(() => {})
  await upstream[Symbol.asyncDispose]()
  await using egress = open()
  const told = ask(egress, upstream)
  expect(told.events).toEqual([])
  expect(await told.over).toMatchObject({ events: ['error'], error: { code: 'ECONNREFUSED' } })
})

test('closing ends what is under way and what is kept, and nothing is sent after it', async () => {
  await using upstream = await openRawUpstream(seen => hasAsked(seen) && seen.text.includes('/kept') && seen.socket.write(ok))
  await using egress = open()
  const kept = [ask(egress, { ...upstream, path: '/kept' }), ask(egress, { ...upstream, path: '/kept' })]
  await Promise.all(kept.map(({ over }) => over))
  const asked = ask(egress, upstream)
  await asked.until('sent')
  const waiting = ask(egress, upstream)
  const connecting = ask(egress, { origin: upstream.origin.replace('127.0.0.1', 'localhost') })
  await egress.close()
  for (const [told, events] of [
    [asked, ['sent', 'error']],
    [waiting, ['error']],
    [connecting, ['error']],
  ] as const) {
    expect(await told.over).toMatchObject({ events, error: { code: 'HEADGATE_EGRESS_CLOSED' } })
  }
  const late = ask(egress, upstream)
  expect(late.events).toEqual([])
  expect(await late.over).toMatchObject({ events: ['error'], error: { code: 'HEADGATE_EGRESS_CLOSED' } })
  await until(() => upstream.seen.every(({ isClosed }) => isClosed))
})
