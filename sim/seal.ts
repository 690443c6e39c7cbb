/**
 * Encrypted content, as far as a client can tell: opaque, and bound to the organisation that it was made for. Whoever holds the
 * organisation can open it, on any machine, so it is no secret at all.
 */
export function seal(organisation: string, tokens: number): string {
  return prefix + Buffer.from(JSON.stringify({ organisation, tokens })).toString('base64url') + '='
}

export type Opened = { readonly tokens: number } | { readonly why: string }

/** Says why, in OpenAI's words, when it was sealed for another organisation or is no seal. */
export function unseal(sealed: string, organisation: string): Opened {
  const made = read(sealed)
  if (made === undefined) return { why: 'Encrypted content could not be decrypted or parsed.' }
  if (made.organisation !== organisation) return { why: 'Encrypted content organization_id did not match the target organization.' }
  return { tokens: made.tokens }
}

/** What real ones begin with. */
const prefix = 'gAAAAAB'

function read(sealed: string): { organisation: string; tokens: number } | undefined {
  if (!sealed.startsWith(prefix)) return undefined
  try {
    const value: unknown = JSON.parse(Buffer.from(sealed.slice(prefix.length), 'base64url').toString('utf8'))
    if (typeof value !== 'object' || value === null || !('organisation' in value) || !('tokens' in value)) return undefined
    const { organisation, tokens } = value
    return typeof organisation === 'string' && typeof tokens === 'number' ? { organisation, tokens } : undefined
  } catch {
    return undefined // Somebody else's: refused by the caller.
  }
}
