import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'vitest'
import { until } from '../../test/world.ts'
import { manualClock } from '../ledger/books.fixture.ts'
import { responses } from '../protocols/openai-responses.ts'
import { HttpClient } from './client.ts'
import { NodeWire } from './node-wire.ts'

const settings = { waitingCommentMs: 0, attemptCommentMs: 0, silenceCommentMs: 0, stalledReaderMs: 60_000 }

/** A client on a real connection, whose time the test makes pass, and what it has heard. */
async function connected() {
  const clock = manualClock(1_000)
  const { promise, resolve } = Promise.withResolvers<HttpClient>()
  const server = createServer((req, res) =>
    resolve(new HttpClient(new NodeWire(req, res, clock), { id: 'id', protocol: responses, address: '', clock, settings })),
  )
  await new Promise<void>(listening => server.listen(0, '127.0.0.1', listening))
  const heard = { text: '' }
  const { port } = server.address() as AddressInfo
  const outgoing = request({ port, host: '127.0.0.1', agent: false }, res => res.on('data', chunk => (heard.text += chunk)))
  outgoing.on('error', () => {}) // It is cut when the test ends.
  outgoing.end()
  const client = await promise
  return {
    client,
    clock,
    hears: (text: string) => until(() => heard.text === text, `the client heard ${JSON.stringify(heard.text)}`),
    async [Symbol.asyncDispose]() {
      outgoing.destroy()
      server.closeAllConnections()
      await new Promise(closed => server.close(closed))
    },
  }
}

test('a silence goes on when one wait follows another', async () => {
  await using one = await connected()
  const { client, clock, hears } = one
  client.commentEvery(10_000)
  clock.advance(8_000)
  client.commentEvery(15_000)
  clock.advance(6_000)
  client.commentEvery(10_000) // Fourteen seconds of silence are more than ten.
  clock.advance(0)
  await hears(':\n\n')
  clock.advance(9_000)
  client.commentEvery(15_000)
  clock.advance(5_999)
  await hears(':\n\n')
  clock.advance(1)
  await hears(':\n\n:\n\n')
})

test('0 ends the comments, and no silence counts before somebody waits', async () => {
  await using one = await connected()
  const { client, clock, hears } = one
  client.commentEvery(0)
  clock.advance(60_000)
  client.commentEvery(10_000)
  clock.advance(9_999)
  client.commentEvery(0)
  clock.advance(60_000)
  client.beginStream({})
  client.write(Buffer.from('data: x\n\n'))
  await hears('data: x\n\n')
})
