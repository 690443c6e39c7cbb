import type { Stripped } from '../protocols/protocol.ts'
import { errorOf } from '../upstreams/verdict.ts'
import type { Admission } from './admit.ts'
import type { Reply } from './forward.ts'

/**
 * What to cut out of the body before the same account is asked once more: the call went to another organisation than its
 * encrypted content came from, which says that it cannot read it. Undefined for every other answer; when that was cut out already; and when
 * it would not help: then the upstream's words are relayed.
 */
export function repairFor({ beginning }: Pick<Reply, 'beginning'>, { call, receipt }: Admission): Stripped | undefined {
  if (beginning.kind !== 'refusal' || beginning.status !== 400 || receipt.repaired !== null) return undefined
  if (errorOf(beginning.body.toString()).code !== 'invalid_encrypted_content') return undefined
  return call.protocol.withoutEncrypted?.(call.body.bytes, call.facts)
}
