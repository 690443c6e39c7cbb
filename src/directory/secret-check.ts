import { type Database, statement } from '../storage/database.ts'
import { textOrNull } from './cells.ts'
import { NotUnsealed, type Seal } from './seal.ts'

/**
 * All gateways on the same books must seal with the same key, else each would write what the others cannot read. The first one leaves a
 * sealed text in them. Rejects with a sentence for the operator when this gateway's key does not open it.
 */
export async function checkSecretKey(database: Pick<Database, 'read' | 'commit'>, seal: Seal): Promise<void> {
  // Whoever comes second, even by a moment, finds the first one's.
  await database.commit([{ statement: leaveCheck, values: [seal.seal(text, identity)] }], 'synced')
  const [row] = await database.read(selectCheck)
  try {
    seal.unseal(textOrNull(row!, 'secret_check') ?? '', identity)
  } catch (error) {
    if (!(error instanceof NotUnsealed)) throw error
    throw new Error(
      'These books belong to another secret key. Every gateway that uses them needs the same HEADGATE_SECRET_KEY: that of the ' +
        'gateway which used them first or, if it was never told one, the text of the file secret.key in its data folder.',
      { cause: error },
    )
  }
}

const text = 'headgate'
const identity = 'installation'
const leaveCheck = statement('update installation set secret_check = $1 where id = 1 and secret_check is null')
const selectCheck = statement('select secret_check from installation where id = 1')
