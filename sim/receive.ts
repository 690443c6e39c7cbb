import type { IncomingMessage, ServerResponse } from 'node:http'
import { notJson, refusal } from './asked.ts'
import { csvOf } from './bill.ts'
import { create } from './create.ts'
import type { Exchange } from './exchange.ts'
import type { Parts } from './parts.ts'
import { findRoute } from './routes.ts'

/** Reads a request, notes it, and has it answered. */
export async function receive(req: IncomingMessage, res: ServerResponse, parts: Parts): Promise<void> {
  const path = req.url ?? '/'
  const method = req.method ?? 'GET'
  if (path === '/healthz') return void res.end('ok')
  const [route = '', query] = path.split('?', 2)
  if (route === '/invoice') return sendInvoice(res, method, new URLSearchParams(query).get('format') ?? 'json', parts)
  const atMs = performance.now()
  const key = keyOf(req)
  const { body, isWhole } = await readBody(req)
  const attempt = { key, path, method, headers: req.headers, body, isWhole, atMs, endedMs: isWhole ? undefined : performance.now() }
  if (parts.record) {
    parts.attempts.push(attempt)
    parts.watch.changed()
  }
  if (!isWhole) return
  try {
    await answerBy(method, route, { key, path, body, res }, parts)
  } catch (error) {
    // Nested so deep that no reader can follow: nothing that can be read.
    if (!(error instanceof RangeError) || res.headersSent) throw error
    sendValue(res, 400, { error: notJson().error })
  } finally {
    attempt.endedMs = performance.now()
  }
}

async function answerBy(method: string, route: string, exchange: Exchange, parts: Parts): Promise<void> {
  if (method === 'POST' && route === '/v1/responses') return await create(exchange, parts) // Before the table, for benchmarks.
  const found = findRoute(method, route)
  if (found !== undefined) return await found.act(exchange, parts, found.ids)
  sendValue(exchange.res, 404, { error: refusal(404, `Invalid URL (${method} ${route})`).error })
}

/** The upstream's own figures, by day, key and model: `?format=csv` for a file. */
function sendInvoice(res: ServerResponse, method: string, format: string, { invoice }: Parts): void {
  if (method !== 'GET') return sendValue(res, 405, { error: refusal(405, `Not allowed to ${method} on /invoice`).error })
  if (format === 'json') return sendValue(res, 200, { object: 'invoice', data: invoice.rows() })
  if (format === 'csv') return void res.writeHead(200, { 'content-type': 'text/csv; charset=utf-8' }).end(csvOf(invoice.rows()))
  sendValue(res, 400, { error: refusal(400, `format is "${format}"; it takes json or csv`).error })
}

function sendValue(res: ServerResponse, status: number, value: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
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
