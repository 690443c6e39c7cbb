import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { join } from 'node:path'
import { readOrMakePrivateFile } from '../directory/private-file.ts'

/**
 * What the admin API asks for: HEADGATE_ADMIN_TOKEN when it is set, else the line in `admin.token` in the data folder, made
 * when it is missing. `made` says that it was made just now. Throws a sentence when others may read the file or it is empty.
 */
export function readAdminToken({
  adminTokenText,
  folder,
}: {
  readonly adminTokenText: string | null | undefined
  readonly folder: string
}): {
  readonly token: string
  readonly made: boolean
} {
  if (adminTokenText) return { token: adminTokenText, made: false }
  const path = join(folder, 'admin.token')
  const { text, made } = readOrMakePrivateFile(path, () => `hgadm-${randomBytes(tokenBytes).toString('base64url')}`)
  if (text.length < tokenLengthMin)
    throw new Error(
      `${path} must have a token of at least ${tokenLengthMin} characters; remove the file, and a new one is made at the next start.`,
    )
  return { token: text, made }
}

/** Compares hashes, in constant time: neither the length nor the first wrong character can be measured from outside. */
export function isToken(presented: string, token: string): boolean {
  return timingSafeEqual(hash('sha256', presented, 'buffer'), hash('sha256', token, 'buffer'))
}

const tokenBytes = 32
const tokenLengthMin = 16
