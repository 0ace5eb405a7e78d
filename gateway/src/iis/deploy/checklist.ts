import { needsPreflightRule } from "./web-config.ts";
import { ANONYMOUS_PATHS, applicationPathOf, type DeployWish, FILES, needsModule, placeOf } from "./wish.ts";

interface Step {
  readonly title: string;
  readonly text: string;
}

/** The order of steps, and by what one sees that each is done. Markdown. */
export function checklist(wish: DeployWish): string {
  const { behind, publicUrl } = wish;
  const how = behind === "iis-ancm" ? "ASP.NET Core Module V2 starts it" : "ARR hands requests to it";
  const steps = [
    featuresStep(wish),
    modulesStep(wish),
    filesStep(wish),
    gatewayStep(wish),
    ...(behind === "iis-arr" ? [serviceStep(wish)] : []),
    serverStep(wish),
    certificateStep(wish),
    doctorStep(wish),
    answersStep(wish),
    ...signInSteps(wish),
    throughStep(wish),
    traceStep(wish),
  ];
  return `# Countersign behind IIS: ${publicUrl}

Written by \`countersign iis init\`: ${how}; ${SIGN_IN_WORDS[wish.signIn]}. Do the steps in their order; each says how to see
that it is done. **None of it has run on a Windows machine yet**: where a step does not behave as it says here, believe
IIS, and tell us.

${steps.map(({ title, text }, index) => `## ${index + 1}. ${title}\n\n${text.trim()}\n`).join("\n")}
## Later

- **A new version**: stop ${behind === "iis-ancm" ? `the pool (\`appcmd stop apppool "${wish.pool}"\`)` : "the service"}, replace \`countersign.js\`, start it again.
- **Other settings**: run \`countersign iis init\` again with them. It shows what differs and changes nothing of yours without \`--force\`.
${secretsLater(wish)}`;
}

const SIGN_IN_WORDS: Readonly<Record<DeployWish["signIn"], string>> = {
  windows: "Windows signs users in",
  oidc: "the gateway signs users in itself, or takes their tokens",
  certificates: "users show client certificates",
};

function featuresStep({ behind, signIn, ...wish }: DeployWish): Step {
  const features = [
    "Web-Server",
    "Web-WebSockets",
    "Web-Scripting-Tools",
    "Web-Custom-Logging",
    ...(behind === "iis-ancm" ? ["Web-AppInit"] : []),
    ...(signIn === "windows" ? ["Web-Windows-Auth"] : []),
    ...(needsModule({ ...wish, behind, signIn }) ? ["Web-Asp-Net45"] : []),
  ];
  return {
    title: "Features of Windows",
    text: `
\`\`\`powershell
Install-WindowsFeature ${features.join(", ")}
\`\`\`

See: \`Get-WindowsFeature ${features.join(", ")}\` has an \`X\` at each.`,
  };
}

function modulesStep(wish: DeployWish): Step {
  const install =
    wish.behind === "iis-ancm"
      ? "the .NET Hosting Bundle, which brings ASP.NET Core Module V2"
      : "URL Rewrite 2.1, then Application Request Routing 3.0";
  const rewrite =
    wish.behind === "iis-ancm" && needsPreflightRule(wish)
      ? ", and URL Rewrite 2.1 for the rule of preflights"
      : "";
  const names =
    wish.behind === "iis-ancm"
      ? ["AspNetCoreModuleV2", ...(rewrite === "" ? [] : ["RewriteModule"])]
      : ["RewriteModule", "ApplicationRequestRouting"];
  return {
    title: "Modules, and Node",
    text: `Install Node 22 or later for all users, and ${install}${rewrite}. Then \`net stop was /y\` and \`net start w3svc\`.

See: \`"${wish.node}" --version\`, and \`%windir%\\system32\\inetsrv\\appcmd list module\` names ${names.join(" and ")}.`,
  };
}

function filesStep({ folder }: DeployWish): Step {
  return {
    title: "Files",
    text: `Copy this whole folder to \`${folder}\`, over a channel that keeps \`secrets\` and \`site\\App_Data\` to yourself, and delete it
where it came from. Add \`countersign.js\` as it was released, and what \`countersign init\` made: \`countersign.yaml\`, the policy,
and the keys for NATS.

See: \`dir ${folder}\` shows \`countersign.js\`, \`countersign.yaml\`, \`secrets\` and \`site\`.`,
  };
}

function gatewayStep(wish: DeployWish): Step {
  return {
    title: "The gateway's configuration",
    text: `Merge \`${FILES.gatewayConfig}\` into \`countersign.yaml\`.${wish.signIn === "certificates" ? " Say whose each certificate is." : ""}

See: in \`${wish.folder}\`, \`node countersign.js serve --check\` and \`node countersign.js doctor\` find nothing wrong.`,
  };
}

function serviceStep({ folder, port }: DeployWish): Step {
  return {
    title: "The service",
    text: `Download WinSW 3, put it beside \`countersign-service.xml\` as \`countersign-service.exe\`, and in \`${folder}\\service\`:

\`\`\`bat
countersign-service.exe install
countersign-service.exe start
\`\`\`

It runs as LocalService, whose rights to the files the next step sets: start it again after that. Other services of that
account can read the same files: where there are any, give this one an account of its own.

See: \`curl.exe -i http://127.0.0.1:${port}/healthz\` answers 400, with an \`X-Request-Id\`: it runs, and believes nobody who
does not come through IIS. \`netstat -ano -p TCP\` shows it on 127.0.0.1 only.`,
  };
}

function serverStep(wish: DeployWish): Step {
  const { folder } = wish;
  return {
    title: "The server",
    text: `As administrator: \`powershell -ExecutionPolicy Bypass -File ${folder}\\${FILES.powershell}\`, or \`${folder}\\${FILES.appcmd}\`. It makes the pool and the
${applicationPathOf(wish) === "/" ? "site" : "application"}, and writes to applicationHost.config what a site may not set itself${wish.behind === "iis-arr" ? ", with the secret of the rule" : ""}.

See: it ends with "Done". IIS keeps former versions of applicationHost.config in \`%SystemDrive%\\inetpub\\history\`.`,
  };
}

function certificateStep(wish: DeployWish): Step {
  const { host } = new URL(wish.publicUrl);
  const client =
    wish.signIn === "certificates"
      ? `

The authority of the users' certificates must be in the machine's store of trusted roots. Where a path asks for certificates,
and not the whole site, TLS 1.3 and HTTP/2 may not allow it: whether they do here is not confirmed. A host name of its own,
with \`netsh http update sslcert … clientcertnegotiation=enable\`, asks from the beginning.`
      : "";
  return {
    title: "The certificate of the site",
    text: `Bind a certificate for \`${host}\` to the site's https binding, in IIS Manager or with \`netsh http add sslcert\`. Have no http
binding, or one that only redirects.${client}

See: \`curl.exe -I https://${host}\` complains of no certificate.`,
  };
}

function doctorStep(wish: DeployWish): Step {
  return {
    title: "What is written fits together",
    text: `\`\`\`bat
node ${wish.folder}\\countersign.js iis doctor ${wish.folder}\\site %windir%\\System32\\inetsrv\\config\\applicationHost.config --site "${placeOf(wish)}"
\`\`\`

See: no danger, no error, no warning. A section of \`web.config\` that this server has locked is found here, before a visitor
finds 500.19.`,
  };
}

function answersStep(wish: DeployWish): Step {
  const paths = ANONYMOUS_PATHS.slice(0, 2).map((path) => `\`curl.exe -i ${wish.publicUrl}/${path}\``);
  return {
    title: "It answers",
    text: `See: ${paths.join(" and ")} answer 200 with an \`X-Request-Id\`, asked for no password. An answer
without that header is IIS's own: 500.19 is the configuration, 502.5 a process that did not start, 404 a rule or module
that is not there.`,
  };
}

function signInSteps(wish: DeployWish): readonly Step[] {
  const { publicUrl } = wish;
  switch (wish.signIn) {
    case "windows": {
      const origin = wish.origins[0];
      const preflight = needsPreflightRule(wish)
        ? `

A preflight brings no ticket. See: \`curl.exe -i -X OPTIONS -H "Origin: ${origin}" -H "Access-Control-Request-Method: POST" ${publicUrl}/v1/publish\`
answers 204. If it is 401, this IIS authenticates by the first path and not by the rewritten one: give the pages the gateway's
own origin.`
        : "";
      return [
        {
          title: "Windows signs users in",
          text: `See: \`curl.exe --negotiate -u : -H "Countersign-Request: 1" ${publicUrl}/v1/whoami\` names you by your SID. 401 from the gateway (with
an \`X-Request-Id\`) is a request that the module did not sign: it is not in \`App_Code\`, the pool is not .NET CLR v4.0, Integrated,
or the keys differ. Without the option it answers 401 with \`WWW-Authenticate: Negotiate\`.${preflight}`,
        },
      ];
    }
    case "certificates":
      return [
        {
          title: "Certificates name users",
          text: `See: \`curl.exe --cert … --key … -H "Countersign-Request: 1" ${publicUrl}/v1/whoami\` names the certificate's user; without a certificate
it answers 401.`,
        },
      ];
    case "oidc":
      return [
        {
          title: "People sign in",
          text: `See: \`${publicUrl}/auth/login\` in a browser leads to the identity provider and back; a bearer token is known by
\`${publicUrl}/v1/whoami\`.`,
        },
      ];
  }
}

function throughStep(wish: DeployWish): Step {
  const { publicUrl, signIn } = wish;
  const token =
    signIn === "windows"
      ? "Windows takes no bearer tokens, so that what needs one is left out."
      : "With a token that may read a subject, in COUNTERSIGN_TOKEN, events are timed too.";
  return {
    title: "Nothing gets past it",
    text: `From another machine: \`countersign iis doctor --through ${publicUrl}\`. It sends forged headers, opens a WebSocket with
compression offered, and looks at request ids. ${token}

See: nothing wrong.`,
  };
}

function traceStep({ folder }: DeployWish): Step {
  return {
    title: "A request can be followed",
    text: `Take the \`X-Request-Id\` of an answer that was refused or published something, and the site's log folder:
\`node ${folder}\\countersign.js trace ID --config ${folder}\\countersign.yaml --iis C:\\inetpub\\logs\\LogFiles\\W3SVC…\`. IIS writes its log late:
\`netsh http flush logbuffer\` first.

See: IIS's line and the gateway's record stand together. The name of the log ends in \`_x.log\`, since it has the custom field.`,
  };
}

function secretsLater(wish: DeployWish): string {
  const module = needsModule(wish)
    ? `- **A new key of the module**: put it on a second line of \`${FILES.key}\`, wait ten seconds, put it into \`${FILES.moduleKey}\` in the place of the old one, recycle the pool, then remove the first line.\n`
    : "";
  const proof =
    wish.behind === "iis-arr"
      ? `- **A new secret of the rule**: put it on a second line of \`${FILES.proof}\`, wait ten seconds, exchange the two lines, run the server script again (it takes the first line), then remove the old line.\n`
      : "";
  return module + proof;
}
