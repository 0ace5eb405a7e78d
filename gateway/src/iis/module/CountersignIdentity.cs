// Countersign's identity module for IIS. IIS compiles it by itself: put this file into App_Code of the site, whose
// application pool has managed code v4.0 in Integrated mode, and add to its web.config
//
//   <modules><add name="CountersignIdentity" type="CountersignIdentity" preCondition="" /></modules>
//
// and to appSettings:
//
//   CountersignKey          base64 of 32 random bytes or more: the same that the gateway's `key` file holds
//   CountersignGroups       none (default), sids, or names (SIDs with their names)
//   CountersignOnlyGroups   SIDs or names, separated by `;`: only these are sent. Absent: all of them
//   CountersignCertificate  true: sends the SHA-256 of the client certificate. Default false
//
// On every request it takes away whatever a client sent under the names by which IIS speaks to the gateway, and sets
// one header, Countersign-Identity: v1.<payload>.<mac>. The payload is base64url of lines (see Payload), the mac is
// HMAC-SHA256 over "v1.<payload>". A request that Windows did not sign in is signed as anonymous.
//
// C# 5: that is what the compiler of .NET Framework 4.x, which IIS uses, understands. Nothing here writes to a log.
using System;
using System.Collections.Generic;
using System.Configuration;
using System.Globalization;
using System.Security.Cryptography;
using System.Security.Principal;
using System.Text;
using System.Web;

public sealed class CountersignIdentity : IHttpModule
{
    public const string IdentityHeader = "Countersign-Identity";
    public const int GroupsMax = 200;
    // Base64 makes 12 KB of it, half of what the gateway takes for all headers together.
    public const int GroupBytesMax = 9000;

    // Compared in lower case with '-' for '_', which IIS takes for one another.
    private static readonly string[] Ours = { "countersign-identity", "x-arr-clientcert", "x-iis-windowsauthtoken" };
    private static readonly string[] OurPrefixes = { "ms-aspnetcore", "x-ms-client-principal", "x-ms-token-" };

    // Read once, at the first request: a change of web.config starts the application anew.
    private static readonly byte[] Key = ReadKey(ConfigurationManager.AppSettings["CountersignKey"]);
    private static readonly string Groups = ConfigurationManager.AppSettings["CountersignGroups"] ?? "none";
    private static readonly HashSet<string> OnlyGroups = ReadList(ConfigurationManager.AppSettings["CountersignOnlyGroups"]);
    private static readonly bool SendsCertificate =
        string.Equals(ConfigurationManager.AppSettings["CountersignCertificate"], "true", StringComparison.OrdinalIgnoreCase);

    public void Init(HttpApplication application)
    {
        application.BeginRequest += delegate { Strip(application.Request); };
        application.PostAuthenticateRequest += delegate { Sign(application.Context); };
    }

    public void Dispose()
    {
    }

    private static void Strip(HttpRequest request)
    {
        foreach (string name in request.Headers.AllKeys)
        {
            if (name != null && IsOurs(name)) request.Headers.Remove(name);
        }
    }

    public static bool IsOurs(string name)
    {
        string plain = name.ToLowerInvariant().Replace('_', '-');
        foreach (string each in Ours) if (plain == each) return true;
        foreach (string each in OurPrefixes) if (plain.StartsWith(each, StringComparison.Ordinal)) return true;
        return false;
    }

    private static void Sign(HttpContext context)
    {
        // Without a key the request goes on without the header, and the gateway refuses it.
        if (Key == null) return;
        HttpRequest request = context.Request;
        WindowsIdentity user = context.User == null ? null : context.User.Identity as WindowsIdentity;
        string payload;
        if (user == null || !user.IsAuthenticated || user.IsAnonymous || user.IsGuest || user.User == null)
        {
            payload = Payload(Now(), Nonce(), request.HttpMethod, "", "", "", CertificateHash(request), "none", new string[0]);
        }
        else
        {
            List<string> lines = new List<string>();
            string how = Choose(GroupsOf(user), Groups, OnlyGroups, lines);
            payload = Payload(
                Now(), Nonce(), request.HttpMethod, user.AuthenticationType, user.User.Value, user.Name,
                CertificateHash(request), how, lines.ToArray());
        }
        request.Headers.Set(IdentityHeader, Seal(Key, payload));
    }

    // Lazily, so that names are asked for only as long as there is room: each may be a question to a domain controller.
    private static IEnumerable<KeyValuePair<string, string>> GroupsOf(WindowsIdentity user)
    {
        bool named = Groups == "names" || OnlyGroups != null;
        foreach (IdentityReference group in user.Groups)
        {
            yield return new KeyValuePair<string, string>(group.Value, named ? NameOf(group) : null);
        }
    }

    // How the groups are sent (none, all, left-out), and one line for each into `lines`. Never a part of them: to be
    // without a group that one is in may widen what a policy gives.
    public static string Choose(
        IEnumerable<KeyValuePair<string, string>> groups, string how, HashSet<string> only, List<string> lines)
    {
        if (how != "sids" && how != "names") return "none";
        int bytes = 0;
        foreach (KeyValuePair<string, string> group in groups)
        {
            string sid = group.Key;
            string name = group.Value;
            if (only != null && !only.Contains(sid) && (name == null || !only.Contains(name))) continue;
            string line = how == "names" && name != null ? sid + "\t" + name : sid;
            bytes += Encoding.UTF8.GetByteCount(line) + 1;
            if (lines.Count == GroupsMax || bytes > GroupBytesMax)
            {
                lines.Clear();
                return "left-out";
            }
            lines.Add(line);
        }
        return "all";
    }

    private static string NameOf(IdentityReference group)
    {
        try
        {
            return Clean(group.Translate(typeof(NTAccount)).Value);
        }
        catch (SystemException)
        {
            // It has none (IdentityNotMappedException), or no domain controller answers. The SID says the same.
            return null;
        }
    }

    private static string CertificateHash(HttpRequest request)
    {
        if (!SendsCertificate || !request.ClientCertificate.IsPresent) return "";
        using (SHA256 sha = SHA256.Create()) return Hex(sha.ComputeHash(request.ClientCertificate.Certificate));
    }

    private static string Now()
    {
        DateTime epoch = new DateTime(1970, 1, 1, 0, 0, 0, DateTimeKind.Utc);
        return ((long)(DateTime.UtcNow - epoch).TotalMilliseconds).ToString(CultureInfo.InvariantCulture);
    }

    private static string Nonce()
    {
        byte[] bytes = new byte[16];
        using (RandomNumberGenerator random = RandomNumberGenerator.Create()) random.GetBytes(bytes);
        return Hex(bytes);
    }

    // The lines of the payload, in this order; nothing in them can end one.
    public static string Payload(
        string milliseconds, string nonce, string method, string authenticationType, string sid, string name,
        string certificateHash, string how, string[] groups)
    {
        StringBuilder text = new StringBuilder();
        text.Append(milliseconds).Append('\n').Append(nonce).Append('\n').Append(Clean(method)).Append('\n');
        text.Append(Clean(authenticationType)).Append('\n').Append(sid).Append('\n').Append(Clean(name)).Append('\n');
        text.Append(certificateHash).Append('\n').Append(how);
        foreach (string group in groups) text.Append('\n').Append(group);
        return text.ToString();
    }

    public static string Seal(byte[] key, string payload)
    {
        string text = "v1." + Base64Url(Encoding.UTF8.GetBytes(payload));
        using (HMACSHA256 mac = new HMACSHA256(key)) return text + "." + Base64Url(mac.ComputeHash(Encoding.ASCII.GetBytes(text)));
    }

    private static string Clean(string value)
    {
        StringBuilder text = new StringBuilder(value.Length);
        foreach (char each in value) if (!char.IsControl(each)) text.Append(each);
        return text.ToString();
    }

    private static string Base64Url(byte[] bytes)
    {
        return Convert.ToBase64String(bytes).TrimEnd('=').Replace('+', '-').Replace('/', '_');
    }

    private static string Hex(byte[] bytes)
    {
        StringBuilder text = new StringBuilder(bytes.Length * 2);
        foreach (byte each in bytes) text.Append(each.ToString("x2", CultureInfo.InvariantCulture));
        return text.ToString();
    }

    public static byte[] ReadKey(string text)
    {
        if (string.IsNullOrEmpty(text)) return null;
        try
        {
            byte[] key = Convert.FromBase64String(text.Trim());
            return key.Length >= 32 ? key : null;
        }
        catch (FormatException)
        {
            return null;
        }
    }

    public static HashSet<string> ReadList(string text)
    {
        if (string.IsNullOrEmpty(text)) return null;
        HashSet<string> list = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        foreach (string each in text.Split(';')) if (each.Trim() != "") list.Add(each.Trim());
        return list;
    }
}
