// Runs the pure part of the module outside IIS, for its test: each argument is base64 of UTF-8, so that no shell and no
// locale touches it.
//
//   seal KEY MILLISECONDS NONCE METHOD TYPE SID NAME CERTIFICATE HOW GROUP…   prints the header
//   ours NAME…                                                               prints true or false for each
using System;
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
        string payload = CountersignIdentity.Payload(
            args[1], args[2], args[3], args[4], args[5], args[6], args[7], args[8], args.Skip(9).ToArray());
        Console.WriteLine(CountersignIdentity.Seal(Convert.FromBase64String(args[0]), payload));
        return 0;
    }
}
