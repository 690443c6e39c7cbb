import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { eventsOf } from './bulk.ts'

/** How the body of a stream ends after its last byte: as it should, or in one of four ways that it should not. */
export const breaks = ['end', 'cut', 'reset', 'stall'] as const
export type Break = (typeof breaks)[number]

export interface Breaking {
  /** Of the bytes of `eventsOf`, so many are sent. */
  readonly bytes: number
  readonly how: Break
  /** In chunks of so many. */
  readonly chunkBytes: number
}

interface Upstream extends AsyncDisposable {
  /** With /v1 at the end. */
  readonly baseUrl: string
}

/** Streams `eventsOf(number, count)` for the input "number", and breaks it off as planned for that number. */
export async function openBreakingUpstream(count: number, planOf: (number: number) => Breaking): Promise<Upstream> {
  return open(async (incoming, response) => {
    const number = Number(/"input":"(\d+)"/.exec(await bodyOf(incoming))![1])
    const { bytes, how, chunkBytes } = planOf(number)
    const all = Buffer.from([...eventsOf(number, count)].join('')).subarray(0, bytes)
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    for (let at = 0; at < all.length; at += chunkBytes) {
      response.write(all.subarray(at, at + chunkBytes))
      // What waits here when the socket is destroyed would never have been sent.
      do await new Promise(setImmediate)
      while (response.socket !== null && response.socket.writableLength > 0)
    }
    if (how === 'end') response.end()
    else if (how === 'cut') response.socket?.destroy()
    else if (how === 'reset') response.socket?.resetAndDestroy()
  })
}

/** Takes each call, and cuts it off a moment later without a word. */
export async function openDeadUpstream(afterMs: number): Promise<Upstream> {
  return open(async (incoming, response) => {
    await bodyOf(incoming)
    await delay(afterMs)
    response.socket?.destroy()
  })
}

async function open(answer: (incoming: IncomingMessage, response: ServerResponse) => Promise<void>): Promise<Upstream> {
  const server: Server = createServer({ keepAliveTimeout: 600_000 }, (incoming, response) => void answer(incoming, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

async function bodyOf(incoming: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of incoming.setEncoding('utf8')) text += chunk
  return text
}
