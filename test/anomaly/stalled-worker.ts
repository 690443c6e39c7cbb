import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { parentPort } from 'node:worker_threads'
import { longStream, type Stalled, talk, talkEvent, ways } from './stalled.ts'

/** An upstream that says much to everybody, and clients that never read: on a thread whose memory is not the gateway's. */

const port = parentPort!
const bytes = Buffer.from(longStream())
const pieceBytes = 16_384
let written = 0
let asked = 0

const server = createServer((request, response) => {
  request.resume().on('end', () => {
    asked += 1
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    if (request.url?.startsWith(ways.talking)) talkTo(response)
    else tellAll(response)
  })
})

function tellAll(response: ServerResponse): void {
  let at = 0
  const write = () => {
    while (at < bytes.length) {
      const piece = bytes.subarray(at, at + pieceBytes)
      at += piece.length
      written += piece.length
      if (!response.write(piece)) return void response.once('drain', write)
    }
    response.end()
  }
  write()
}

/** It does not come to an end. */
function talkTo(response: ServerResponse): void {
  let n = 0
  const talking = setInterval(() => {
    written += 1
    response.write(talkEvent(n))
    n += 1
    if (n === talk.events) clearInterval(talking)
  }, talk.everyMs)
}

server.listen(0, '127.0.0.1')
await once(server, 'listening')
const address = server.address()
port.postMessage(typeof address === 'object' && address !== null ? address.port : 0)

port.on('message', ({ url, head, readers }: Stalled) => {
  const { hostname, port: gatewayPort } = new URL(url)
  const askedBefore = asked
  for (let reader = 0; reader < readers; reader += 1) {
    const socket = connect(Number(gatewayPort), hostname).pause()
    socket.on('error', () => {}) // It is cut: that is the point.
    socket.write(head)
  }
  let before = -1
  const looking = setInterval(() => {
    if (written === before && asked >= askedBefore + readers) {
      clearInterval(looking)
      port.postMessage('still')
    }
    before = written
  }, stillMs)
})

/** Nothing was written to anybody for so long: all stall. */
const stillMs = 2_000
