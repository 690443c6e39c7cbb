import { refusal } from './asked.ts'
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
    parts.models.includes(id)
      ? { value: modelObject(id) }
      : refusal(404, `The model '${id}' does not exist or you do not have access to it.`, 'model_not_found', 'model'),
  )
}

function modelObject(id: string): object {
  return { id, object: 'model', created: 1_760_000_000, owned_by: 'system' }
}
