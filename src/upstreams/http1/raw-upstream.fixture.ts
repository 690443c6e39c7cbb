import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'

/** One connection as its upstream sees it. */
export interface Seen {
  readonly socket: Socket
  /** What came on it, as latin1. */
  text: string
  bytes: number
  isClosed: boolean
}

export interface RawUpstream extends AsyncDisposable {
  readonly origin: string
  readonly port: number
  /** In the order in which they came. */
  readonly seen: readonly Seen[]
}

/** An upstream that says what it is told to, byte for byte: whenever something came that has not been answered. */
export async function openRawUpstream(came: (seen: Seen, nth: number) => void, server: Server = createServer()): Promise<RawUpstream> {
  const all: Seen[] = []
  server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', (socket: Socket) => {
    const seen: Seen = { socket, text: '', bytes: 0, isClosed: false }
    all.push(seen)
    socket.on('error', () => {})
    socket.on('close', () => {
      seen.isClosed = true
    })
    socket.on('data', (bytes: Buffer) => {
      seen.bytes += bytes.length
      seen.text = (seen.text + bytes.toString('latin1')).slice(-100_000)
      came(seen, all.indexOf(seen))
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  return {
    origin: `http://127.0.0.1:${port}`,
    port,
    seen: all,
    async [Symbol.asyncDispose]() {
      for (const { socket } of all) socket.destroy()
      server.close()
    },
  }
}

/** Whether all of a request with such an end is there. */
export function hasAsked({ text }: Seen): boolean {
  return text.endsWith('\r\n\r\n')
}

export const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
