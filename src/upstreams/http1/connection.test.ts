import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createConnection, createServer } from 'node:net'
import { expect, test, vi } from 'vitest'
import { systemClock } from '../../lib/clock.ts'
import { type Egress, openEgress } from '../egress.ts'
import { Pieces } from '../pieces.ts'
import { Connection } from './connection.ts'
import { Exchange } from './exchange.ts'
import { hasAsked, ok, openRawUpstream, type Seen } from './raw-upstream.fixture.ts'
import { ask, Told } from './told.fixture.ts'

function open(): Egress & AsyncDisposable {
  const egress = openEgress({ connectTimeoutMs: 1000 }, systemClock)
  return { ...egress, [Symbol.asyncDispose]: () => egress.close() }
}

const answering = (text: string) => (seen: Seen) => {
  if (hasAsked(seen)) seen.socket.write(text, 'latin1')
}
const until = (is: () => boolean) => vi.waitFor(() => expect(is()).toBe(true), { interval: 2, timeout: 3000 })
const mebibyte = 1024 * 1024

test('what ends with the connection ends with it', async () => {
  await using upstream = await openRawUpstream(({ socket }) => socket.end('HTTP/1.1 200 OK\r\n\r\nhello'))
  await using egress = open()
  expect(await ask(egress, upstream).over).toMatchObject({ events: ['sent', 'head', 'body', 'end'], body: 'hello' })
})

test.for([
  ['nothing', ''],
  ['half a head', 'HTTP/1.1 200 OK\r\nContent-'],
  ['less than its length', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello'],
  ['no last chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'],
])('an answer of which there is %s when the connection ends has failed', async ([, text]) => {
  await using upstream = await openRawUpstream(({ socket }) => socket.end(text!))
  await using egress = open()
  const told = await ask(egress, upstream).over
  expect(told.error?.code).toBe('HEADGATE_ANSWER_FLAW')
  expect(told.events.at(-1)).toBe('error')
  await until(() => upstream.seen[0]!.isClosed)
})

test('an answer until the connection ends has failed when that is reset', async () => {
  await using upstream = await openRawUpstream(answering('HTTP/1.1 200 OK\r\n\r\nhello'))
  await using egress = open()
  const told = ask(egress, upstream)
  await told.until('body')
  upstream.seen[0]!.socket.resetAndDestroy()
  expect(await told.over).toMatchObject({ events: ['sent', 'head', 'body', 'error'], error: { code: 'ECONNRESET' } })
})

test('what is no answer fails at once, and its connection is closed', async () => {
  await using upstream = await openRawUpstream(answering('220 smtp.example ESMTP\r\n'))
  await using egress = open()
  expect(await ask(egress, upstream).over).toMatchObject({ events: ['sent', 'error'], error: { code: 'HEADGATE_ANSWER_FLAW' } })
  await until(() => upstream.seen[0]!.isClosed)
})

test('what is given up before it is written is not written, and its connection serves another', async () => {
  await using upstream = await openRawUpstream(answering(ok))
  await using egress = open()
  const told = ask(egress, upstream, (event, { control }) => event === 'sent' && control.abort(new Error('not wanted')))
  expect(await told.over).toMatchObject({ events: ['sent', 'error'], error: { message: 'not wanted' } })
  await ask(egress, { ...upstream, path: '/second' }).over
  expect(upstream.seen).toHaveLength(1)
  expect(upstream.seen[0]!.text).toMatch(/^GET \/second/)
})

test.for(['head', 'body'])(
  'what is given up while it is told of its %s is told of once more, and its connection is closed',
  async during => {
    await using upstream = await openRawUpstream(answering('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello'))
    await using egress = open()
    const told = ask(egress, upstream, (event, { control }) => {
      if (event === during) control.abort(new Error('not wanted'))
    })
    await told.over
    await until(() => upstream.seen[0]!.isClosed)
    told.control.abort(new Error('again'))
    told.control.pause()
    told.control.resume()
    expect(told.error?.message).toBe('not wanted')
    expect(told.events).toEqual(during === 'head' ? ['sent', 'head', 'error'] : ['sent', 'head', 'body', 'error'])
    expect(told.control.aborted).toBe(true)
  },
)

test('what is over cannot be given up, so that its connection is not another’s loss', async () => {
  await using upstream = await openRawUpstream(answering(ok))
  await using egress = open()
  const first = await ask(egress, upstream).over
  const second = ask(egress, upstream)
  await second.until('sent')
  first.control.abort(new Error('too late'))
  first.control.pause()
  expect(await second.over).toMatchObject({ events: ['sent', 'head', 'body', 'end'], body: 'ok' })
  expect(first).toMatchObject({ events: ['sent', 'head', 'body', 'end'], control: { aborted: false } })
  expect(upstream.seen).toHaveLength(1)
})

test.for(['sent', 'head', 'body', 'end', 'error'])('a handler that throws when told of its %s harms nobody else', async during => {
  const text = during === 'error' ? 'nonsense' : 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n'
  await using upstream = await openRawUpstream(seen => hasAsked(seen) && seen.socket.write(seen.text.includes('/good') ? ok : text))
  await using egress = open()
  const told = ask(egress, upstream, event => {
    if (event === during) throw new Error('a bug')
  })
  await told.until('error')
  if (during !== 'error') expect(told.error?.message).toBe('a bug')
  expect(told.events.filter(event => event === 'error')).toHaveLength(1)
  expect(await ask(egress, { ...upstream, path: '/good' }).over).toMatchObject({ body: 'ok' })
})

test('silence is kept while it is asked for, and then all comes in its order', async () => {
  const sent = Buffer.from(Array.from({ length: 12 * mebibyte }, (_, at) => at % 251))
  const text = `HTTP/1.1 200 OK\r\nContent-Length: ${sent.length}\r\n\r\n`
  await using upstream = await openRawUpstream(({ socket }) => socket.write(text) && socket.write(sent))
  const isStuck = () => upstream.seen[0]!.socket.writableLength > 0
  await using egress = open()
  let isSilent = false
  const told = ask(egress, upstream, (event, { control }) => {
    if (event !== 'body') return
    expect(isSilent).toBe(false)
    isSilent = true
    control.pause()
  })
  await told.until('body')
  // As much again is read meanwhile by somebody else.
  expect((await ask(egress, upstream).over).bodyBytes).toBe(sent.length)
  expect(isStuck()).toBe(true)
  while (told.events.at(-1) === 'body') {
    isSilent = false
    told.control.resume()
    await new Promise(setImmediate)
  }
  await told.over
  expect(told.events).toEqual(['sent', 'head', 'body', 'end'])
  expect(Buffer.concat(told.pieces).equals(sent)).toBe(true)
})

test('silence in the middle of what was read at once keeps the rest, and resuming at once loses nothing', async () => {
  const chunks = Array.from({ length: 20 }, (_, n) => `2\r\n${String(n).padStart(2)}\r\n`).join('')
  await using upstream = await openRawUpstream(answering(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`))
  await using egress = open()
  const counts: number[] = []
  const told = ask(egress, upstream, (event, { control, pieces }) => {
    if (event !== 'head' && event !== 'body') return
    control.pause()
    if (pieces.length % 3 === 0) return control.resume()
    setImmediate(() => {
      counts.push(pieces.length)
      control.resume()
    })
  })
  await told.over
  expect(told.pieces.map(String)).toEqual(Array.from({ length: 20 }, (_, n) => String(n).padStart(2)))
  expect(counts).toEqual([1, 2, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17, 19, 20])
  await ask(egress, upstream).over
  expect(upstream.seen).toHaveLength(1)
})

test('silence that is ended as soon as it is asked for stops nothing', async () => {
  await using upstream = await openRawUpstream(answering('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello'))
  await using egress = open()
  const told = ask(egress, upstream, (event, { control }) => {
    if (event !== 'body') return
    control.pause()
    control.resume()
  })
  await told.until('body')
  upstream.seen[0]!.socket.write('world')
  expect(await told.over).toMatchObject({ body: 'helloworld', error: undefined })
})

test('of a large body, no more than a piece waits in the socket', async () => {
  await using upstream = await openRawUpstream(({ socket }) => socket.pause())
  const socket = createConnection(upstream.port, '127.0.0.1')
  await once(socket, 'connect')
  const connection = new Connection(socket, false, { pieces: new Pieces(), freed() {}, gone() {} })
  const body = Array.from({ length: 10 }, () => Buffer.alloc(3 * mebibyte))
  connection.begin(new Exchange({ head: 'POST / HTTP/1.1\r\n\r\n', body }, new Told()))
  expect(socket.writableLength).toBeLessThan(mebibyte + 100)
  await until(() => upstream.seen[0]!.bytes > 0)
  expect(socket.writableLength).toBeLessThan(mebibyte + 100)
  connection.close()
})

test('a large body arrives as it is, however slowly it is read', async () => {
  const body = [100, 3 * mebibyte + 1, 0, 700_000, 9 * mebibyte].map((length, n) => Buffer.alloc(length, `${n}-of-it `))
  const whole = Buffer.concat(body)
  const hash = createHash('sha256')
  let isHead = true
  let left = whole.length
  const server = createServer(socket => {
    socket.on('data', (piece: Buffer) => {
      const end = isHead ? piece.indexOf('\r\n\r\n') + 4 : 0
      isHead = false
      if (left > 0) hash.update(piece.subarray(end))
      left -= piece.length - end
      if (left <= 0) socket.write(ok)
      socket.pause()
      setImmediate(() => socket.resume())
    })
  })
  await using upstream = await openRawUpstream(() => {}, server)
  await using egress = open()
  const told = ask(egress, { ...upstream, method: 'POST', body })
  expect(await told.over).toMatchObject({ body: 'ok' })
  expect(hash.digest('hex')).toBe(createHash('sha256').update(whole).digest('hex'))
  expect(body).toHaveLength(5)
  await ask(egress, upstream).over
  expect(upstream.seen).toHaveLength(1)
})

test('an answer to what was not all sent is told, and its connection is not kept', async () => {
  await using upstream = await openRawUpstream(seen => {
    seen.socket.pause()
    seen.socket.write(seen.text.startsWith('POST') ? 'HTTP/1.1 413 Too large\r\nContent-Length: 2\r\n\r\nno' : ok)
  })
  await using egress = open()
  const body = Array.from({ length: 40 }, () => Buffer.alloc(mebibyte))
  expect(await ask(egress, { ...upstream, method: 'POST', body }).over).toMatchObject({ status: 413, body: 'no', error: undefined })
  upstream.seen[0]!.socket.resume()
  await until(() => upstream.seen[0]!.isClosed)
  expect(upstream.seen[0]!.bytes).toBeLessThan(40 * mebibyte)
  expect(await ask(egress, upstream).over).toMatchObject({ status: 200 })
  expect(upstream.seen).toHaveLength(2)
})

test('what is given up while it is sent is sent no further', async () => {
  let isGivenUp = false
  await using upstream = await openRawUpstream(seen => !isGivenUp && seen.bytes > mebibyte && seen.socket.pause())
  await using egress = open()
  const told = ask(egress, { ...upstream, method: 'POST', body: [Buffer.alloc(40 * mebibyte)] })
  await until(() => (upstream.seen[0]?.bytes ?? 0) > mebibyte)
  told.control.abort(new Error('not wanted'))
  isGivenUp = true
  upstream.seen[0]!.socket.resume()
  await until(() => upstream.seen[0]!.isClosed)
  expect(upstream.seen[0]!.bytes).toBeLessThan(40 * mebibyte)
  expect(told.events).toEqual(['sent', 'error'])
})

test.for([
  ['in chunks', 'transfer-encoding: chunked\r\n', '1\r\nA\r\n1\r\nB\r\n0\r\n\r\n', ['A', 'B']],
  ['of a length', 'content-length: 2\r\n', 'AB', ['AB']],
  ['until the end', '', 'AB', ['AB']],
  ['of half its length', 'content-length: 4\r\n', 'AB', undefined],
] as const)('an answer %s whose connection ends while silence is asked for is told to its end', async ([, framing, body, pieces]) => {
  await using upstream = await openRawUpstream(({ socket }) => socket.end(`HTTP/1.1 200 OK\r\nconnection: close\r\n${framing}\r\n${body}`))
  const { port, hostname } = new URL(upstream.origin)
  const socket = createConnection(Number(port), hostname)
  await once(socket, 'connect')
  const freed: Connection[] = []
  const connection = new Connection(socket, false, { pieces: new Pieces(), freed: one => void freed.push(one), gone: () => {} })
  // Silence after the head and after each piece, for longer than the connection lives.
  const told = new Told((event, { control }) => {
    if (event !== 'head' && event !== 'body') return
    control.pause()
    setTimeout(() => control.resume(), 50)
  })
  connection.begin(new Exchange({ head: 'GET / HTTP/1.1\r\n\r\n', body: [] }, told))
  await told.over
  expect(told.events.at(-1)).toBe(pieces === undefined ? 'error' : 'end')
  expect(told.body).toBe('AB')
  if (pieces !== undefined) expect(told.pieces.map(String)).toEqual(pieces)
  expect([freed, connection.isOpen]).toEqual([[], false])
})
