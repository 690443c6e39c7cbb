import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { systemClock } from '../lib/clock.ts'
import { NodeWire } from './node-wire.ts'

const pieces = [Buffer.from('event: é日\n\n'), Buffer.alloc(0), Buffer.alloc(200_000, 0xff), Buffer.from([0, 0x0d, 0x0a, 0x30, 0x0d, 0x0a])]
const lasts = [undefined, Buffer.alloc(0), Buffer.from('data: [DONE]\n\n'), Buffer.alloc(70_000, 0x80)]

function stream(last: Buffer | undefined): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const wire = new NodeWire(request, response, systemClock)
    wire.beginStream(200, { 'content-type': 'text/event-stream' })
    for (const piece of pieces) wire.write(piece)
    wire.end(last)
  }
}

async function serve(answer: ReturnType<typeof stream>): Promise<{ readonly port: number } & Disposable> {
  const server = createServer(answer)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return { port, [Symbol.dispose]: () => void server.close() }
}

function ask(port: number): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => get({ port, agent: false }, resolve).on('error', reject))
}

test.for(lasts.map(last => [last?.length, last] as const))(
  'a stream whose last piece has %s bytes arrives as it was written',
  async ([, last]) => {
    const whole = Buffer.concat([...pieces, last ?? Buffer.alloc(0)])
    using server = await serve(stream(last))
    const answer = await ask(server.port)
    expect(answer.headers['transfer-encoding']).toBe('chunked')
    expect(await buffer(answer)).toEqual(whole)
    expect(answer.complete).toBe(true)
  },
)

test('HTTP/1.0 knows no chunks: the end of the connection is the end of the stream', async () => {
  using server = await serve(stream(lasts[2]))
  const socket = connect(server.port, '127.0.0.1').end('GET / HTTP/1.0\r\n\r\n')
  const told = await buffer(socket)
  const body = told.subarray(told.indexOf('\r\n\r\n') + 4)
  expect(told.toString('latin1', 0, 300)).not.toMatch(/transfer-encoding/i)
  expect(body).toEqual(Buffer.concat([...pieces, lasts[2]!]))
})

test.for([0, 100, 65_536, 65_537])('a whole answer of %i bytes arrives as it was written', async bytes => {
  const body = Buffer.from(Array.from({ length: bytes }, (_, i) => i % 256))
  using server = await serve((request, response) => {
    const wire = new NodeWire(request, response, systemClock)
    wire.head(200, { 'content-length': String(bytes) })
    wire.endWhole(body)
  })
  expect(await buffer(await ask(server.port))).toEqual(body)
})
