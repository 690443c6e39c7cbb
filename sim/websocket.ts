import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { type Refusal, refusal } from './asked.ts'
import { refusalOf } from './create.ts'
import { type Connection, endConnection, hear, newConnection, sendError } from './lanes.ts'
import { departed, type Parts, type SocketLimits } from './parts.ts'
import { keyOf } from './receive.ts'

/** Upgrades `GET /v1/responses`, and closes all sockets when it is disposed of. */
export function openSockets(server: Server, parts: Parts): { close(): void } {
  const sockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', (req, socket, head) => {
    socket.on('error', () => {}) // The closing that follows says the same.
    const wrong = noteAndJudge(req, parts)
    if (wrong !== undefined) return refuse(socket, wrong)
    sockets.handleUpgrade(req, socket, head, ws => serve(ws, req, parts))
  })
  return {
    close() {
      for (const ws of sockets.clients) ws.terminate()
    },
  }
}

/** Why there is no upgrade. */
function noteAndJudge(req: IncomingMessage, { record, attempts, watch, scripts, socketLimits }: Parts): Refusal | undefined {
  const { url: path = '/', headers } = req
  const key = keyOf(req)
  if (record) {
    attempts.push({ key, path, method: 'GET', headers, body: Buffer.alloc(0), isWhole: true, atMs: performance.now() })
    watch.changed()
  }
  if (!/^(\/v1)?\/responses(\?|$)/.test(path)) return refusal(404, `Invalid URL (GET ${path.split('?', 1)[0]})`)
  if (socketLimits === undefined) return refusal(426, 'WebSocket upgrades are not supported.')
  return refusalOf(scripts.next(key, '', 'websocket'), '')
}

function refuse(socket: Duplex, { status, error }: Refusal): void {
  const body = JSON.stringify({ error })
  const upgrade = status === 426 ? 'connection: upgrade, close\r\nupgrade: websocket\r\n' : 'connection: close\r\n'
  socket.end(
    `HTTP/1.1 ${status} Refused\r\n${upgrade}content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

function serve(ws: WebSocket, req: IncomingMessage, parts: Parts): void {
  const limits = parts.socketLimits
  if (limits === undefined) return ws.terminate()
  const connection = newConnection({ ws, socket: req.socket, key: keyOf(req), limits })
  const tooLong = setTimeout(() => endAfter(connection, limits), limits.connectionMs)
  ws.on('error', () => {}) // The closing that follows says the same.
  ws.on('message', (data: Buffer, isBinary) => {
    if (parts.record) {
      const { headers, url: path = '/' } = req
      parts.attempts.push({ key: connection.key, path, method: 'MESSAGE', headers, body: data, isWhole: true, atMs: performance.now() })
      parts.watch.changed()
    }
    hear(connection, data, isBinary, parts)
  })
  ws.on('close', () => {
    clearTimeout(tooLong)
    leave(connection, parts)
  })
}

const minuteMs = 60_000

function endAfter(connection: Connection, { connectionMs }: SocketLimits): void {
  const message = `Responses websocket connection limit reached (${connectionMs / minuteMs} minutes). Create a new websocket connection to continue.`
  sendError(connection, refusal(400, message, 'websocket_connection_limit_reached'), undefined)
  endConnection(connection, 'eof')
}

function leave(connection: Connection, parts: Parts): void {
  const { underWay } = connection
  if (underWay.size > 0 && !connection.isOver && !parts.isClosing) parts.gone += 1
  for (const [leaving, { line }] of underWay) {
    if (!connection.isOver && !parts.isClosing) line.clientLeft = true
    leaving.abort(departed)
  }
  parts.watch.changed()
}
