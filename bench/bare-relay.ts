import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Pool } from 'undici'

/**
 * The least that a gateway in this runtime can do, which is what Headgate is measured against: node:http in, undici out, the body and the
 * answer parsed once, every chunk passed on as it comes, and nothing booked, checked or logged. `bare-relay.ts <upstream URL> <port>`; a third
 * word is how many milliseconds each call is held up, to show that the benchmark sees them.
 */
const [upstream, port, lateMs = '0'] = process.argv.slice(2)
if (upstream === undefined || port === undefined) throw new Error('bare-relay.ts takes the URL of an upstream and a port')
const pool = new Pool(upstream, { connections: null, headersTimeout: 0, bodyTimeout: 0 })

createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const go = () => relay(request, response, Buffer.concat(chunks))
    if (lateMs === '0') go()
    else after(Number(lateMs), go)
  })
}).listen(Number(port), '127.0.0.1')

/** By turning the loop until then: a timer would be late by up to a millisecond of its own. */
function after(ms: number, go: () => void): void {
  const atMs = performance.now() + ms
  const look = () => (performance.now() < atMs ? setImmediate(look) : go())
  look()
}

function relay(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const { stream } = JSON.parse(body.toString()) as { readonly stream?: boolean }
  const headers = {
    'content-type': 'application/json',
    'content-length': String(body.length),
    authorization: String(request.headers.authorization),
  }
  const answer: Buffer[] = []
  pool.dispatch(
    { path: String(request.url), method: 'POST', headers, body },
    {
      onRequestStart() {},
      onResponseStart(_, status, said) {
        if (stream === true) response.writeHead(status, { 'content-type': String(said['content-type']) })
        else response.writeHead(status, { 'content-type': String(said['content-type']), 'content-length': String(said['content-length']) })
      },
      onResponseData(_, chunk) {
        if (stream === true) response.write(chunk)
        else answer.push(chunk)
      },
      onResponseEnd() {
        if (stream === true) return response.end()
        const whole = Buffer.concat(answer)
        JSON.parse(whole.toString())
        response.end(whole)
      },
      onResponseError: () => response.destroy(),
    },
  )
}
