import { request } from 'node:http'
import { connect } from 'node:net'
import type { Generated } from './requests.ts'

/** What came of a generated request, whichever way it was sent. */
export interface Told {
  /** 0 when the connection was closed without a word. */
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

/** No answer, and no end of the connection, in so long is a hang: beyond all that the gateway itself would wait here. */
const hangMs = 30_000

/** Sends one and reads all that comes. Rejects only when nothing ever ends. */
export async function tellGateway(url: string, made: Generated): Promise<Told> {
  const giving = Promise.withResolvers<Told>()
  const timer = setTimeout(() => giving.reject(new Error('it hangs')), hangMs)
  const close = made.raw === undefined ? byHttp(url, made, giving.resolve) : bySocket(url, made.raw, giving.resolve)
  try {
    return await giving.promise
  } finally {
    clearTimeout(timer)
    close()
  }
}

const silent: Told = { status: 0, headers: {}, body: '' }

function byHttp(url: string, { method, path, headers, body }: Generated, tell: (told: Told) => void): () => void {
  const { hostname, port } = new URL(url)
  const outgoing = request({ hostname, port, method, path, headers, agent: false })
  outgoing.on('error', () => tell(silent))
  outgoing.on('response', response => {
    const chunks: Buffer[] = []
    const end = () => tell({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString() })
    response.on('data', (chunk: Buffer) => void chunks.push(chunk))
    response.on('end', end).on('error', end)
  })
  outgoing.on('upgrade', (response, socket) => {
    socket.destroy()
    tell({ status: response.statusCode ?? 0, headers: response.headers, body: '' })
  })
  outgoing.end(method === 'GET' || method === 'HEAD' ? undefined : body)
  return () => void outgoing.destroy()
}

/** The first answer of the connection; what comes behind it is the next request's. */
function bySocket(url: string, raw: Buffer, tell: (told: Told) => void): () => void {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const chunks: Buffer[] = []
  const read = () => tell(readAnswer(Buffer.concat(chunks).toString('latin1')))
  socket.on('data', chunk => void chunks.push(chunk))
  socket.on('end', read).on('error', read).on('close', read)
  socket.write(raw)
  socket.end()
  return () => void socket.destroy()
}

function readAnswer(text: string): Told {
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const [first = '', ...lines] = head.split('\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1] ?? 0)
  if (status === 100) return readAnswer(rest.join('\r\n\r\n'))
  const headers = Object.fromEntries(lines.map(line => [line.split(':', 1)[0]!.toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]))
  const body = Buffer.from(rest.join('\r\n\r\n'), 'latin1')
  return { status, headers, body: body.subarray(0, Number(headers['content-length'] ?? body.length)).toString() }
}
