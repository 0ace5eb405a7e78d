// Runs the pure part of the module outside IIS, for its test: each argument is base64 of UTF-8, so that no shell and no
// locale touches it.
//
//   seal KEY MILLISECONDS NONCE METHOD TYPE SID NAME CERTIFICATE HOW GROUP…   prints the header
//   ours NAME…                                                               prints true or false for each
//   key TEXT                                                                 prints how many bytes it has, or none
//   groups HOW ONLY SID[TAB NAME]…                                           prints how they are sent, then their lines
using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;

public static class Vectors
{
    public static int Main(string[] given)
    {
        string[] args = given.Skip(1).Select(each => Encoding.UTF8.GetString(Convert.FromBase64String(each))).ToArray();
        if (given[0] == "ours")
        {
            foreach (string name in args) Console.WriteLine(CountersignIdentity.IsOurs(name) ? "true" : "false");
            return 0;
        }
        if (given[0] == "key")
        {
            byte[] key = CountersignIdentity.ReadKey(args[0]);
            Console.WriteLine(key == null ? "none" : key.Length.ToString());
            return 0;
        }
        if (given[0] == "groups")
        {
            List<string> lines = new List<string>();
            IEnumerable<KeyValuePair<string, string>> groups = args.Skip(2).Select(each => each.Split('\t'))
                .Select(parts => new KeyValuePair<string, string>(parts[0], parts.Length > 1 ? parts[1] : null));
            Console.WriteLine(CountersignIdentity.Choose(groups, args[0], CountersignIdentity.ReadList(args[1]), lines));
            foreach (string line in lines) Console.WriteLine(line);
            return 0;
        }
        string payload = CountersignIdentity.Payload(
            args[1], args[2], args[3], args[4], args[5], args[6], args[7], args[8], args.Skip(9).ToArray());
        Console.WriteLine(CountersignIdentity.Seal(Convert.FromBase64String(args[0]), payload));
        return 0;
    }
}
