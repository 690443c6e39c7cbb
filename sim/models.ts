import { defaultError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { tell } from './lifecycle.ts'
import type { Parts } from './parts.ts'

/** `GET /v1/models`. */
export function listModels(exchange: Exchange, parts: Parts): Promise<void> {
  return tell(exchange, 'models', parts, () => ({ value: { object: 'list', data: parts.models.map(modelObject) } }))
}

/** `GET /v1/models/{id}`. */
export function retrieveModel(exchange: Exchange, parts: Parts, [id = '']: readonly string[]): Promise<void> {
  return tell(exchange, 'models', parts, () =>
    parts.models.includes(id) ? { value: modelObject(id) } : { status: 404, error: defaultError(404, id) },
  )
}

function modelObject(id: string): object {
  return { id, object: 'model', created: 1_760_000_000, owned_by: 'system' }
}
