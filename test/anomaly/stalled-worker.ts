import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { parentPort } from 'node:worker_threads'
import { longStream, type Stalled } from './stalled.ts'

/** An upstream that says much to everybody, and clients that never read: on a thread whose memory is not the gateway's. */

const port = parentPort!
const bytes = Buffer.from(longStream())
const pieceBytes = 16_384
let written = 0

const server = createServer((request, response) => {
  request.resume().on('end', () => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
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
  })
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const address = server.address()
port.postMessage(typeof address === 'object' && address !== null ? address.port : 0)

port.on('message', ({ url, head, readers }: Stalled) => {
  const { hostname, port: gatewayPort } = new URL(url)
  for (let reader = 0; reader < readers; reader += 1) {
    const socket = connect(Number(gatewayPort), hostname).pause()
    socket.on('error', () => {}) // It is cut: that is the point.
    socket.write(head)
  }
  let before = -1
  const looking = setInterval(() => {
    if (written === before && written > 0) {
      clearInterval(looking)
      port.postMessage('still')
    }
    before = written
  }, stillMs)
})

/** Nothing was written to anybody for so long: all stall. */
const stillMs = 2_000
