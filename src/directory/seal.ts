import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { readOrMakePrivateFile } from './private-file.ts'

/** Encrypts secrets at rest with the key that the operator holds. */
export interface Seal {
  /** `identity` says whose secret it is, such as `account:<id>:api_key`. */
  seal(secret: string, identity: string): string
  /** Throws `NotUnsealed` when the key is another one, the text was changed, or it was sealed for another identity. */
  unseal(sealed: string, identity: string): string
}

export class NotUnsealed extends Error {
  override readonly name = 'NotUnsealed'
}

/** AES-256-GCM. The identity is authenticated with the text, so that a secret copied to another row does not open there. */
export function openSeal(key: Buffer): Seal {
  if (key.length !== keyBytes) throw new Error(`The secret key has ${key.length} bytes; it must have ${keyBytes}.`)
  return {
    seal(secret, identity) {
      const nonce = randomBytes(nonceBytes)
      const cipher = createCipheriv('aes-256-gcm', key, nonce)
      cipher.setAAD(Buffer.from(identity))
      const parts = [nonce, cipher.update(secret, 'utf8'), cipher.final(), cipher.getAuthTag()]
      return version + Buffer.concat(parts).toString('base64url')
    },
    unseal(sealed, identity) {
      const bytes = Buffer.from(sealed.slice(version.length), 'base64url')
      if (!sealed.startsWith(version) || bytes.length < nonceBytes + tagBytes)
        throw new NotUnsealed(`The sealed text of ${identity} is damaged, or from a newer version.`)
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes })
      decipher.setAAD(Buffer.from(identity))
      decipher.setAuthTag(bytes.subarray(-tagBytes))
      try {
        return decipher.update(bytes.subarray(nonceBytes, -tagBytes), undefined, 'utf8') + decipher.final('utf8')
      } catch (cause) {
        throw new NotUnsealed(`The sealed text of ${identity} does not open with this secret key.`, { cause })
      }
    },
  }
}

/**
 * The key that secrets are sealed with: HEADGATE_SECRET_KEY when it is set (64 hexadecimal digits, or base64 of 32 bytes), else
 * the file `secret.key` in the data folder, made when it is missing. Throws a sentence when it cannot be used.
 */
export function readSecretKey({
  secretKeyText,
  folder,
}: {
  readonly secretKeyText: string | null | undefined
  readonly folder: string
}): Buffer {
  if (secretKeyText) return parseKey(secretKeyText.trim(), 'HEADGATE_SECRET_KEY')
  const path = join(folder, 'secret.key')
  const { text } = readOrMakePrivateFile(path, () => randomBytes(keyBytes).toString('hex'))
  return parseKey(text, path)
}

const version = 'v1.'
const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16

/** The text itself is never told: it may be a real key with one character too many. */
function parseKey(text: string, from: string): Buffer {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex')
  const bytes = /^[A-Za-z0-9+/_-]+=?$/.test(text) ? Buffer.from(text, 'base64') : Buffer.alloc(0)
  if (bytes.length === keyBytes) return bytes
  throw new Error(
    `${from} is not a secret key: it must be ${keyBytes} bytes, as 64 hexadecimal digits or as base64. "openssl rand -hex 32" makes one.`,
  )
}
