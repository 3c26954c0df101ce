// Runs oidc-provider, a certified OpenID provider, as configured by one line of JSON on standard
// input. Ends when standard input does, so that it never outlives the process that started it.
import { X509Certificate, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { createInterface } from 'node:readline';

import { exportJWK, generateKeyPair } from 'jose';
import Provider, { errors } from 'oidc-provider';

const lines = createInterface({ input: process.stdin });
const config = JSON.parse((await lines[Symbol.asyncIterator]().next()).value);
process.stdin.resume().on('end', () => process.exit(0));

const issuer = `https://localhost:${config.port}`;
const { privateKey } = await generateKeyPair('RS256', { extractable: true });
const machine = (name, method, more = {}) => ({
  client_id: name,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  token_endpoint_auth_method: method,
  ...more,
});
const pem = readFileSync(config.selfSigned, 'utf8');
const selfSigned = {
  ...createPublicKey(pem).export({ format: 'jwk' }),
  x5c: [new X509Certificate(pem).raw.toString('base64')],
};
const secret = { client_secret: config.clientSecret };

const provider = new Provider(issuer, {
  clients: [
    machine('basic', 'client_secret_basic', secret),
    machine('post', 'client_secret_post', secret),
    machine('signing', 'private_key_jwt', { jwks: { keys: config.publicKeys } }),
    machine('certified', 'tls_client_auth', { tls_client_auth_san_dns: config.dnsName }),
    machine('self-signed', 'self_signed_tls_client_auth', { jwks: { keys: [selfSigned] } }),
    {
      ...machine('refreshing', 'client_secret_basic', secret),
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: [`${issuer}/never-used`],
      response_types: ['code'],
    },
  ],
  clientAuthMethods: [
    'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth',
    'self_signed_tls_client_auth',
  ],
  cookies: { keys: [config.clientSecret] },
  enabledJWA: {
    clientAuthSigningAlgValues: ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'],
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    mTLS: {
      enabled: true,
      tlsClientAuth: true,
      selfSignedTlsClientAuth: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_san_dns'
        && ctx.socket.getPeerX509Certificate().subjectAltName === `DNS:${expected}`,
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => config.resource,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => {
        if (resource !== config.resource) throw new errors.InvalidTarget();
        return {
          scope: config.scopes.join(' '),
          audience: config.audience,
          accessTokenTTL: config.tokenLifetime,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        };
      },
    },
  },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: () => '/never-used' },
  jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: 'RS256', use: 'sig' }] },
  rotateRefreshToken: true,
  scopes: ['openid', 'offline_access'],
  ttl: { Grant: 3600, RefreshToken: 3600, AccessToken: config.tokenLifetime },
});

// What a user's sign-in in a browser would have left behind.
const client = await provider.Client.find('refreshing');
const scope = ['openid', 'offline_access', ...config.scopes].join(' ');
const grant = new provider.Grant({ accountId: config.user, clientId: client.clientId });
grant.addOIDCScope('openid offline_access');
grant.addResourceScope(config.resource, config.scopes.join(' '));
const refreshToken = await new provider.RefreshToken({
  accountId: config.user,
  client,
  grantId: await grant.save(),
  gty: 'authorization_code',
  resource: config.resource,
  scope,
}).save();

let tokens = 0;
provider.on('grant.success', () => { tokens += 1; });
provider.on('server_error', (ctx, error) => console.error(error));
lines.on('line', (line) => { if (line === 'tokens') console.log(`TOKENS ${tokens}`); });

https.createServer({
  cert: readFileSync(config.certificate),
  key: readFileSync(config.privateKey),
  ca: readFileSync(config.authority),
  requestCert: true,
  rejectUnauthorized: false,
}, provider.callback()).listen(config.port, '127.0.0.1', () => {
  console.log(`READY ${JSON.stringify({ refreshToken })}`);
});
