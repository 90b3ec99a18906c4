// A stand-in for the Flutter plugin flutter_contacts, with the parts that docs/how-to/sync-contacts.md uses.

/// The phone's contacts, as [name, number, …]; null if the app has no permission to read them.
List<Object?>? address = [];

class FlutterContacts {
  static Future<bool> requestPermission({bool readonly = false}) async => address != null;

  static Future<List<Person>> getContacts({bool withProperties = false}) async =>
      [for (final one in address!) Person((one! as List<Object?>).cast<String>())];
}

class Person {
  Person(List<String> all)
      : displayName = all.first,
        phones = [for (final number in all.skip(1)) Phone(number)];

  final String displayName;
  final List<Phone> phones;
}

class Phone {
  Phone(this.number);

  final String number;
}
