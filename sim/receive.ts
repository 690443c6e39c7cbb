import type { IncomingMessage, ServerResponse } from 'node:http'
import { refusal } from './asked.ts'
import { create } from './create.ts'
import type { Parts } from './parts.ts'
import { findRoute } from './routes.ts'

/** Reads a request, notes it, and has it answered. */
export async function receive(req: IncomingMessage, res: ServerResponse, parts: Parts): Promise<void> {
  const path = req.url ?? '/'
  const method = req.method ?? 'GET'
  if (path === '/healthz') return void res.end('ok')
  const atMs = performance.now()
  const key = keyOf(req)
  const { body, isWhole } = await readBody(req)
  if (parts.record) {
    parts.attempts.push({ key, path, method, headers: req.headers, body, isWhole, atMs })
    parts.watch.changed()
  }
  if (!isWhole) return
  const exchange = { key, path, body, res }
  const [route = ''] = path.split('?', 1)
  if (method === 'POST' && route === '/v1/responses') return await create(exchange, parts) // Before the table, for benchmarks.
  const found = findRoute(method, route)
  if (found !== undefined) return await found.act(exchange, parts, found.ids)
  const { status, error } = refusal(404, `Invalid URL (${method} ${route})`)
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error }))
}

export function keyOf({ headers }: IncomingMessage): string {
  const bearer = /^Bearer (.*)$/i.exec(headers.authorization ?? '')?.[1]
  const apiKey = headers['api-key']
  return bearer ?? (typeof apiKey === 'string' ? apiKey : '')
}

function readBody(req: IncomingMessage): Promise<{ body: Buffer; isWhole: boolean }> {
  return new Promise(resolve => {
    const chunks: Buffer[] = []
    const end = (isWhole: boolean) => resolve({ body: chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks), isWhole })
    req.on('data', (chunk: Buffer) => void chunks.push(chunk))
    req.once('end', () => end(true))
    req.on('error', () => end(false))
    req.once('close', () => end(false))
  })
}
